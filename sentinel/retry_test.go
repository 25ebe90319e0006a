package sentinel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// retryable is an exchange whose one attempt, on a reused connection, failed before anything came back, on
// a route whose policy allows everything.
func retryable(t *testing.T) *exchange {
	t.Helper()
	pool, err := upstream.New(upstream.Options{RetryBudget: upstream.Budget{MinRetries: 100}})
	if err != nil {
		t.Fatal(err)
	}
	rules := bindRetries(&config.RetryPolicy{
		MaxAttempts: 3, Timeout: time.Hour, StatusCodes: []int{503}, ConnectionError: true, OnTimeout: true,
	}, 0)
	x := &exchange{attempts: 1, tried: time.Now(), route: &boundRoute{retries: rules, pool: pool}}
	x.req.Method = []byte("GET")
	x.resp.Status = 503
	return x
}

// allRetries are the rules that a policy can switch on.
var allRetries = []Retry{RetryUnsent, RetryStale, RetrySent, RetryLate, RetryStatus}

// TestMayRetry takes an exchange that may be retried and spoils one condition after the other.
func TestMayRetry(t *testing.T) {
	t.Parallel()
	all, unsent := allRetries, []Retry{RetryUnsent}
	for _, test := range []struct {
		name   string
		change func(*exchange)
		want   []Retry
	}{
		{"as it is", func(*exchange) {}, all},
		{"the last attempt but one", func(x *exchange) { x.attempts = 2 }, all},
		{"the last attempt", func(x *exchange) { x.attempts = 3 }, nil},
		{"an answer has begun", func(x *exchange) { x.status = 200 }, nil},
		{"an interim answer has gone out", func(x *exchange) { x.hinted = true }, nil},
		{"too late", func(x *exchange) { x.tried = x.tried.Add(-time.Hour) }, nil},
		{"too late after the pause", func(x *exchange) { x.route.retries.backoff = [2]time.Duration{time.Hour, time.Hour} }, nil},
		{"another status", func(x *exchange) { x.resp.Status = 500 }, []Retry{RetryUnsent, RetryStale, RetrySent, RetryLate}},
		{"no budget", func(x *exchange) { x.route.pool, _ = upstream.New(upstream.Options{}) }, []Retry{RetryUnsent, RetryStale}},
		{"no policy", func(x *exchange) { x.route.retries = &noPolicy }, []Retry{RetryUnsent, RetryStale}},
		{"the body went out in pieces", func(x *exchange) { x.streamed = true }, unsent},
		{"the body went out in pieces and is kept", func(x *exchange) { x.streamed, x.kept = true, 1 }, all},
		{"POST", func(x *exchange) { x.req.Method = []byte("POST") }, unsent},
		{"PATCH", func(x *exchange) { x.req.Method = []byte("PATCH") }, unsent},
		{"an unknown method", func(x *exchange) { x.req.Method = []byte("get") }, unsent},
		{"PUT", func(x *exchange) { x.req.Method = []byte("PUT") }, all},
		{"DELETE", func(x *exchange) { x.req.Method = []byte("DELETE") }, all},
		{"HEAD", func(x *exchange) { x.req.Method = []byte("HEAD") }, all},
		{"OPTIONS", func(x *exchange) { x.req.Method = []byte("OPTIONS") }, all},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := retryable(t)
			test.change(x)
			for r := none + 1; r < reasons; r++ {
				want := slices.Contains(test.want, reasonTable[r].Retry)
				if got := x.mayRetry(r); got != want {
					t.Errorf("%s: %t, want %t", r, got, want)
				}
			}
		})
	}
}

// TestRetryRules shows what each setting of a policy allows.
func TestRetryRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		policy config.RetryPolicy
		status int
		want   []Retry
	}{
		{"connection errors", config.RetryPolicy{ConnectionError: true}, 503, []Retry{RetryUnsent, RetryStale, RetrySent}},
		{"timeouts", config.RetryPolicy{OnTimeout: true}, 503, []Retry{RetryStale, RetryLate}},
		{"any 5xx", config.RetryPolicy{On5xx: true}, 599, []Retry{RetryStale, RetryStatus}},
		{"any 5xx, but this is none", config.RetryPolicy{On5xx: true}, 499, []Retry{RetryStale}},
		{"a listed status", config.RetryPolicy{StatusCodes: []int{429}}, 429, []Retry{RetryStale, RetryStatus}},
		{"an interim head", config.RetryPolicy{StatusCodes: []int{101}}, 101, []Retry{RetryStale}},
		{"nothing", config.RetryPolicy{}, 503, []Retry{RetryStale}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := retryable(t)
			test.policy.MaxAttempts, test.policy.Timeout = 2, time.Hour
			x.route.retries, x.resp.Status = bindRetries(&test.policy, 0), test.status
			for _, rule := range allRetries {
				r := Reason(slices.IndexFunc(reasonTable[:], func(info ReasonInfo) bool { return info.Retry == rule }))
				if got := x.mayRetry(r); got != slices.Contains(test.want, rule) {
					t.Errorf("%s: %t", rule, got)
				}
			}
		})
	}
}

// TestBackoff shows that the pauses double up to the most.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		base, most time.Duration
		want       []time.Duration // before the first repeat, the second...
	}{
		{100, 1000, []time.Duration{100, 200, 400, 800, 1000, 1000}},
		{100, 10, []time.Duration{10, 10}},
		{0, 1000, []time.Duration{0, 0}},
		{1, 1 << 62, []time.Duration{1, 2, 4}},
	} {
		r := retryRules{backoff: [2]time.Duration{test.base, test.most}}
		for i, want := range test.want {
			if got := r.delay(i + 1); got != want {
				t.Errorf("base %d, at most %d: %d before repeat %d, want %d", test.base, test.most, got, i+1, want)
			}
		}
		if got := r.delay(100); got > test.most {
			t.Errorf("base %d, at most %d: %d before repeat 100", test.base, test.most, got)
		}
	}
}

// TestKeptBodies bounds the bodies that are kept over all requests, and gives back what ended.
func TestKeptBodies(t *testing.T) {
	t.Parallel()
	p := &Proxy{}
	a, b := &exchange{p: p}, &exchange{p: p}
	if !a.keep(maxKept) || b.keep(1) {
		t.Error("one byte more than all bodies may have")
	}
	p.kept.Add(-a.kept)
	if !b.keep(1) || p.kept.Load() != 1 {
		t.Errorf("%d bytes kept", p.kept.Load())
	}
}

// TestJitter shows how much shorter and longer a wait becomes.
func TestJitter(t *testing.T) {
	t.Parallel()
	for chance, want := range map[float64]time.Duration{0: 80, 0.5: 100, 1: 120} {
		if got := jittered(100, chance); got != want {
			t.Errorf("%v: %d, want %d", chance, got, want)
		}
	}
	if rules := bindRetries(&config.RetryPolicy{BackoffJitter: true}, 0); !rules.jitter {
		t.Error("the setting is not used")
	}
}

// TestReasonTable holds what every row must have.
func TestReasonTable(t *testing.T) {
	t.Parallel()
	words := map[string]bool{}
	for r := none + 1; r < reasons; r++ {
		info := reasonTable[r]
		if info.Word == "" || info.Help == "" || info.Retry == "" || words[info.Word] {
			t.Errorf("row %d: %+v", r, info)
		}
		words[info.Word] = true
		if info.Retry != RetryNo && info.Source != FromUpstream {
			t.Errorf("%s may be retried and is not the upstream's", info.Word)
		}
		if (info.Status == 0) != (info.Code == "") {
			t.Errorf("%s: status %d with code %q", info.Word, info.Status, info.Code)
		}
	}
	for fault := wire.None + 1; fault < wire.Fault(len(faultReasons)); fault++ {
		if _, known := faultReasons[fault]; !known && fault != wire.BadStatusLine {
			t.Errorf("fault %v has no Reason", fault)
		}
	}
}

func TestConnectReason(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, test := range []struct {
		err  error
		want Reason
	}{
		{dial(&net.DNSError{Err: "no such host", Name: "a.test", IsNotFound: true}), upstreamDNS},
		{dial(&net.DNSError{Err: "i/o timeout", Name: "a.test", IsTimeout: true}), upstreamDNS},
		{dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), upstreamRefused},
		{dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), upstreamUnreachable},
		{dial(os.NewSyscallError("connect", syscall.ENETUNREACH)), upstreamUnreachable},
		{dial(os.NewSyscallError("socket", syscall.EMFILE)), localResources},
		{dial(os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)), localResources},
		{dial(os.NewSyscallError("socket", syscall.ENOBUFS)), localResources},
		{dial(os.ErrDeadlineExceeded), upstreamConnectTimeout},
		{dial(context.DeadlineExceeded), upstreamConnectTimeout},
		{&upstream.TLSError{Err: context.DeadlineExceeded}, upstreamConnectTimeout},
		{&upstream.TLSError{Err: &tls.CertificateVerificationError{Err: errors.New("unknown authority")}}, upstreamTLS},
		{&upstream.TLSError{Err: fmt.Errorf("remote: %w", tls.AlertError(40))}, upstreamTLS},
		{&upstream.TLSError{Err: syscall.ECONNRESET}, upstreamTLS},
		{errors.New("anything else"), upstreamUnreachable},
	} {
		if got := connectReason(test.err); got != test.want {
			t.Errorf("%v is %s, want %s", test.err, got, test.want)
		}
	}
}

// TestTimeouts shows which limits a route has: its own for the response head if it is written, else the
// upstream's.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name           string
		request, route time.Duration
		limit          tick
	}{
		{"the upstream's", 60 * time.Second, 0, 600},
		{"the route's, shorter", 60 * time.Second, 5 * time.Second, 50},
		{"the route's, longer", 10 * time.Second, 120 * time.Second, 1200},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			upstream := config.UpstreamTimeouts{Request: test.request, Read: 30 * time.Second, Write: 7 * time.Second}
			var r boundRoute
			r.bindTimeouts(&upstream, &config.Route{Upstream: "o", Policies: config.Policies{Timeout: test.route}})
			if r.headLimit != test.limit || r.readLimit != 300 || r.writeLimit != 70 {
				t.Errorf("head %d, read %d, write %d ticks", r.headLimit, r.readLimit, r.writeLimit)
			}
		})
	}
}

// TestCertificateChoice covers names, wildcards of one and of two labels, and clients that name nobody we
// know.
func TestCertificateChoice(t *testing.T) {
	t.Parallel()
	store := &certificates{exact: map[string]*tls.Certificate{}}
	byName := map[string]*tls.Certificate{}
	certificate := func(name string) *tls.Certificate {
		if byName[name] == nil {
			byName[name] = &tls.Certificate{}
		}
		return byName[name]
	}
	store.fallback = certificate("default")
	for _, host := range []string{"a.test", "*.a.test", "*.*.a.test", "Deep.x.A.test", "*.b.test", "*.*.c.test"} {
		store.add(host, certificate(host))
	}
	for name, want := range map[string]string{
		"a.test": "a.test", "A.TEST": "a.test", "a.test.": "a.test", "x.a.test": "*.a.test", "X.A.Test.": "*.a.test",
		"y.x.a.test": "*.*.a.test", "deep.x.a.test": "Deep.x.A.test", "z.y.x.a.test": "default",
		"b.test": "default", "x.b.test": "*.b.test", "y.x.b.test": "default",
		"x.c.test": "default", "y.x.c.test": "*.*.c.test",
		"": "default", ".": "default", "test": "default", "127.0.0.1": "default", "xa.test": "default",
	} {
		got, err := store.choose(&tls.ClientHelloInfo{ServerName: name})
		if err != nil || got != certificate(want) {
			t.Errorf("%q does not get the certificate of %s", name, want)
		}
	}
}
