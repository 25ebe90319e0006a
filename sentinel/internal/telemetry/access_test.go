package telemetry

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// accessLine returns what a log with these options writes for a.
func accessLine(t *testing.T, o AccessOptions, a Access) string {
	t.Helper()
	sink := &memory{}
	w := NewWriter(sink, WriterOptions{})
	NewAccessLog(w, o).Write(&a)
	closeWriter(t, w)
	return sink.String()
}

var everything = AccessOptions{Format: "json", IncludeTraceID: true, SampleRate: 1, InstanceID: "edge-1"}

func TestAccessJSON(t *testing.T) {
	refused := Access{
		Time: time.Date(2026, 3, 14, 16, 9, 26, 5_999_999, time.FixedZone("CET", 3600)), TraceID: []byte("abc"),
		Status: 400, Reason: "bad_request_line", ClientIP: netip.MustParseAddr("fe80::1%eth0"), Route: NoRoute,
	}
	blocked := Access{
		Time: eventTime, TraceID: []byte("abc"), Method: []byte("GET"), Path: []byte("/"), Protocol: "HTTP/1.1", Status: 403,
		Reason: "agent_blocked", Route: "api", Agent: "waf", AgentDuration: 81 * time.Microsecond,
	}
	for name, c := range map[string]struct {
		o    AccessOptions
		a    Access
		want string
	}{
		"blocked by an agent": {everything, blocked, `{"timestamp":"2026-03-14T15:09:26.000Z","trace_id":"abc",` +
			`"method":"GET","path":"/","protocol":"HTTP/1.1","client_ip":"-","body_bytes":0,"status":403,` +
			`"error":"agent_blocked","body_bytes_sent":0,"duration_ms":0.000,"route_id":"api","upstream_attempts":0,` +
			`"agent":"waf","agent_duration_ms":0.081,"connection_reused":false,"rate_limit_hit":false,` +
			`"config_generation":0,"instance_id":"edge-1"}` + "\n"},
		"proxied": {everything, typical(), `{"timestamp":"2026-03-14T15:09:26.535Z","trace_id":"2Fq7RkLm3Xz",` +
			`"method":"GET","path":"/api/v1/customers/4711/orders","query":"page=2&sort=date","protocol":"HTTP/1.1",` +
			`"client_ip":"203.0.113.7","host":"shop.example.com",` +
			`"user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",` +
			`"referer":"https://shop.example.com/customers","body_bytes":0,"status":200,"body_bytes_sent":1024,` +
			`"duration_ms":1.234,"route_id":"orders","upstream":"orders-backend","upstream_addr":"10.0.0.12:8080",` +
			`"upstream_attempts":1,"upstream_duration_ms":0.987,"connection_reused":true,"rate_limit_hit":false,` +
			`"config_generation":3,"instance_id":"edge-1"}` + "\n"},
		"refused, without trace id": {AccessOptions{SampleRate: 1}, refused, `{"timestamp":"2026-03-14T15:09:26.005Z",` +
			`"method":"","path":"","protocol":"","client_ip":"fe80::1","body_bytes":0,"status":400,` +
			`"error":"bad_request_line","body_bytes_sent":0,"duration_ms":0.000,"route_id":"none",` +
			`"upstream_attempts":0,"connection_reused":false,"rate_limit_hit":false,"config_generation":0,` +
			`"instance_id":""}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := accessLine(t, c.o, c.a); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAccessCombined(t *testing.T) {
	hostile := Access{
		Time: typical().Time, Method: []byte("GET"), Path: []byte("/\" 200 0\n\x1b[2J\\"), Protocol: "HTTP/1.1",
		Status: 200, UserAgent: []byte("caf\xc3\xa9"), ClientIP: netip.MustParseAddr("::ffff:192.0.2.1"),
		TraceID: []byte("abc"),
	}
	long := typical()
	long.Path, long.Query = bytes.Repeat([]byte{'a'}, maxText+1), nil
	for name, c := range map[string]struct {
		traceID bool
		a       Access
		want    string
	}{
		"proxied": {true, typical(), `203.0.113.7 - - [14/Mar/2026:15:09:26 +0000] ` +
			`"GET /api/v1/customers/4711/orders?page=2&sort=date HTTP/1.1" 200 1024 "https://shop.example.com/customers" ` +
			`"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0" 2Fq7RkLm3Xz 1ms` + "\n"},
		"hostile": {false, hostile, `192.0.2.1 - - [14/Mar/2026:15:09:26 +0000] ` +
			`"GET /\x22 200 0\x0a\x1b[2J\x5c HTTP/1.1" 200 0 "-" "caf\xc3\xa9" - 0ms` + "\n"},
		"nothing known": {true, Access{Time: typical().Time, Status: 408}, `- - - [14/Mar/2026:15:09:26 +0000] ` +
			`"- - -" 408 0 "-" "-" - 0ms` + "\n"},
		"cut": {true, long, `203.0.113.7 - - [14/Mar/2026:15:09:26 +0000] "GET ` + strings.Repeat("a", maxText) +
			`... HTTP/1.1" 200 1024 "https://shop.example.com/customers" ` +
			`"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0" 2Fq7RkLm3Xz 1ms` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			o := AccessOptions{Format: "combined", IncludeTraceID: c.traceID, SampleRate: 1}
			if got := accessLine(t, o, c.a); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAccessCutsLongStrings(t *testing.T) {
	long := func(n int) []byte { return bytes.Repeat([]byte{'a'}, n) }
	for name, c := range map[string]struct {
		edit  func(*Access)
		limit int
	}{
		"method":     {func(a *Access) { a.Method = long(maxMethod + 1) }, maxMethod},
		"path":       {func(a *Access) { a.Path = long(maxText + 1) }, maxText},
		"query":      {func(a *Access) { a.Query = long(maxText + 1) }, maxText},
		"host":       {func(a *Access) { a.Host = long(maxText + 1) }, maxText},
		"user_agent": {func(a *Access) { a.UserAgent = long(8192) }, maxText},
		"referer":    {func(a *Access) { a.Referer = long(maxText + 1) }, maxText},
	} {
		t.Run(name, func(t *testing.T) {
			a := typical()
			c.edit(&a)
			var got map[string]any
			if err := json.Unmarshal([]byte(accessLine(t, everything, a)), &got); err != nil {
				t.Fatal(err)
			}
			if n := len(got[name].(string)); n != c.limit || got["truncated"] != true {
				t.Errorf("%d bytes, truncated %v, want %d and true", n, got["truncated"], c.limit)
			}
		})
	}
}

func TestAccessSampling(t *testing.T) {
	const lines = 2000
	for name, c := range map[string]struct {
		o        AccessOptions
		a        Access
		min, max int
	}{
		"all":                           {AccessOptions{SampleRate: 1}, Access{Status: 200}, lines, lines},
		"none":                          {AccessOptions{SampleRate: 0}, Access{Status: 200}, 0, 0},
		"half":                          {AccessOptions{SampleRate: 0.5}, Access{Status: 200}, lines * 4 / 10, lines * 6 / 10},
		"errors by status":              {AccessOptions{SampleErrorsAlways: true}, Access{Status: 404}, lines, lines},
		"errors after a status":         {AccessOptions{SampleErrorsAlways: true}, Access{Status: 200, Reason: "x"}, lines, lines},
		"a redirect is no error":        {AccessOptions{SampleErrorsAlways: true}, Access{Status: 302}, 0, 0},
		"errors are sampled when asked": {AccessOptions{}, Access{Status: 500}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			sink := &memory{}
			w := NewWriter(sink, WriterOptions{})
			l := NewAccessLog(w, c.o)
			for range lines {
				l.Write(&c.a)
			}
			closeWriter(t, w)
			if got := strings.Count(sink.String(), "\n"); got < c.min || got > c.max {
				t.Errorf("%d lines of %d, want %d to %d", got, lines, c.min, c.max)
			}
		})
	}
}

func TestNilLogsAreOff(t *testing.T) {
	var access *AccessLog
	var errs *ErrorLog
	var audit *AuditLog
	allocs := testing.AllocsPerRun(10, func() {
		access.Write(&Access{})
		errs.Write(&ErrorEntry{})
		audit.Write(&AuditEntry{})
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestAccessEncodingDoesNotAllocate(t *testing.T) {
	for _, format := range []string{"json", "combined"} {
		t.Run(format, func(t *testing.T) {
			l := NewAccessLog(nil, AccessOptions{Format: format, IncludeTraceID: true, SampleRate: 1})
			s, a := newLine(), typical()
			a.Agent, a.AgentDuration = "waf", 81*time.Microsecond
			allocs := testing.AllocsPerRun(100, func() {
				s.b = s.b[:0]
				l.encode(s, &a)
			})
			if allocs != 0 {
				t.Errorf("%v allocations per line", allocs)
			}
		})
	}
}
