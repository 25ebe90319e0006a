package sentinel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// retryable is an exchange whose one attempt, on a reused connection, failed before anything came back.
func retryable() *exchange {
	x := &exchange{attempts: 1, reused: true, whole: true}
	x.req.Method = []byte("GET")
	return x
}

// TestMayRetry takes an exchange that may be retried and spoils one condition after the other.
func TestMayRetry(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*exchange)
		unsent bool // after a failure before anything was sent
		stale  bool // after the death of the connection
	}{
		{"as it is", func(*exchange) {}, true, true},
		{"the last attempt but one", func(x *exchange) { x.attempts = maxAttempts - 1 }, true, true},
		{"the last attempt", func(x *exchange) { x.attempts = maxAttempts }, false, false},
		{"an answer has begun", func(x *exchange) { x.status = 200 }, false, false},
		{"a new connection", func(x *exchange) { x.reused = false }, true, false},
		{"a byte came back", func(x *exchange) { x.trip.Received = true }, true, false},
		{"the body went out in pieces", func(x *exchange) { x.whole = false }, true, false},
		{"POST", func(x *exchange) { x.req.Method = []byte("POST") }, true, false},
		{"PATCH", func(x *exchange) { x.req.Method = []byte("PATCH") }, true, false},
		{"an unknown method", func(x *exchange) { x.req.Method = []byte("get") }, true, false},
		{"PUT", func(x *exchange) { x.req.Method = []byte("PUT") }, true, true},
		{"DELETE", func(x *exchange) { x.req.Method = []byte("DELETE") }, true, true},
		{"HEAD", func(x *exchange) { x.req.Method = []byte("HEAD") }, true, true},
		{"OPTIONS", func(x *exchange) { x.req.Method = []byte("OPTIONS") }, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := retryable()
			test.change(x)
			for r := none + 1; r < reasons; r++ {
				want := false
				switch reasonTable[r].Retry {
				case RetryUnsent:
					want = test.unsent
				case RetryReusedOnly:
					want = test.stale
				}
				if got := x.mayRetry(r); got != want {
					t.Errorf("%s: %t, want %t", r, got, want)
				}
			}
		})
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
		{dial(os.NewSyscallError("socket", syscall.EMFILE)), upstreamUnreachable},
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
			cfg := &config.Config{Upstreams: []config.Upstream{
				{ID: "other"},
				{ID: "o", Timeouts: config.UpstreamTimeouts{Request: test.request, Read: 30 * time.Second, Write: 7 * time.Second}},
			}}
			var r boundRoute
			r.bindTimeouts(cfg, &config.Route{Upstream: "o", Policies: config.Policies{Timeout: test.route}})
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
