package telemetry

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

var eventTime = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func errorLine(t *testing.T, o ErrorOptions, e ErrorEntry) string {
	t.Helper()
	sink := &memory{}
	w := NewWriter(sink, WriterOptions{})
	NewErrorLog(w, o).Write(&e)
	closeWriter(t, w)
	return sink.String()
}

func auditLine(t *testing.T, o AuditOptions, e AuditEntry) string {
	t.Helper()
	sink := &memory{}
	w := NewWriter(sink, WriterOptions{})
	NewAuditLog(w, o).Write(&e)
	closeWriter(t, w)
	return sink.String()
}

func TestErrorLog(t *testing.T) {
	for name, c := range map[string]struct {
		e    ErrorEntry
		want string
	}{
		"request": {ErrorEntry{
			Time: eventTime, TraceID: []byte("abc"), Level: LevelWarn, Message: "connect refused",
			ErrorType: "upstream_refused", Details: "dial\nfailed", Route: "api", Upstream: "backend", Status: 502,
			ClientIP: netip.MustParseAddr("192.0.2.1"), Duration: 1500 * time.Microsecond,
		}, `{"timestamp":"2026-03-14T15:09:26.000Z","trace_id":"abc","level":"warn","message":"connect refused",` +
			`"error_type":"upstream_refused","route_id":"api","upstream":"backend","status":502,` +
			`"client_ip":"192.0.2.1","duration_ms":1.500,"details":"dial\nfailed"}` + "\n"},
		"no request": {
			ErrorEntry{Time: eventTime, Level: LevelError, Message: "reload failed"},
			`{"timestamp":"2026-03-14T15:09:26.000Z","trace_id":"","level":"error","message":"reload failed"}` + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := errorLine(t, ErrorOptions{Level: LevelWarn}, c.e); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestErrorLogLevels(t *testing.T) {
	for _, c := range []struct {
		log, entry string
		written    bool
	}{
		{LevelWarn, LevelWarn, true},
		{LevelWarn, LevelError, true},
		{LevelError, LevelWarn, false},
		{LevelError, LevelError, true},
	} {
		t.Run(c.entry+" in "+c.log, func(t *testing.T) {
			got := errorLine(t, ErrorOptions{Level: c.log}, ErrorEntry{Level: c.entry}) != ""
			if got != c.written {
				t.Errorf("written: %v, want %v", got, c.written)
			}
		})
	}
}

func TestErrorLogCutsAStack(t *testing.T) {
	line := errorLine(t, ErrorOptions{}, ErrorEntry{Details: strings.Repeat("x", maxStack+1)})
	if !json.Valid([]byte(line)) || !strings.Contains(line, `"truncated":true`) || len(line) > maxStack+200 {
		t.Errorf("%d bytes: %.80s", len(line), line)
	}
}

func TestAuditLog(t *testing.T) {
	for name, c := range map[string]struct {
		e    AuditEntry
		want string
	}{
		"decision": {AuditEntry{
			Time: eventTime, TraceID: []byte("abc"), Event: EventAgentDecision, Method: []byte("POST"),
			Path: []byte("/login"), ClientIP: netip.MustParseAddr("192.0.2.1"), Route: "login", Reason: "sqli",
			Agent: "waf", RuleIDs: []string{"942100", "942\"110"}, Tags: []string{"owasp"}, Action: "block",
			Status: 403, UserID: "u", SessionID: "s", Metadata: []Attribute{{"score", "7"}, {"a\"b", "c\n"}},
		}, `{"timestamp":"2026-03-14T15:09:26.000Z","trace_id":"abc","event_type":"agent_decision","method":"POST",` +
			`"path":"/login","client_ip":"192.0.2.1","route_id":"login","reason":"sqli","agent_id":"waf",` +
			`"rule_ids":["942100","942\"110"],"tags":["owasp"],"action":"block","status_code":403,"user_id":"u",` +
			`"session_id":"s","metadata":{"score":"7","a\"b":"c\n"}}` + "\n"},
		"the proxy itself": {
			AuditEntry{Time: eventTime, Event: EventConfigChange, Path: []byte("/-/config"), Reason: "reload_success"},
			`{"timestamp":"2026-03-14T15:09:26.000Z","trace_id":"","event_type":"config_change","method":"-",` +
				`"path":"/-/config","client_ip":"internal","reason":"reload_success","rule_ids":[],"tags":[],"metadata":{}}` + "\n",
		},
		"a target's health": {
			AuditEntry{
				Time: eventTime, Event: EventUpstreamHealthChange, Reason: "unhealthy",
				Metadata: []Attribute{{"upstream", "backend"}, {"target", "10.0.0.1:80"}, {"cause", "connection refused"}},
			},
			`{"timestamp":"2026-03-14T15:09:26.000Z","trace_id":"","event_type":"upstream_health_change","method":"-","path":"-",` +
				`"client_ip":"internal","reason":"unhealthy","rule_ids":[],"tags":[],` +
				`"metadata":{"upstream":"backend","target":"10.0.0.1:80","cause":"connection refused"}}` + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := AuditOptions{LogAgentDecisions: true}
			if got := auditLine(t, o, c.e); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAuditLogSwitches(t *testing.T) {
	const always = "config_change circuit_breaker_change upstream_health_change custom"
	for name, c := range map[string]struct {
		o    AuditOptions
		want string
	}{
		"all off":         {AuditOptions{}, always},
		"blocked":         {AuditOptions{LogBlocked: true}, "blocked " + always},
		"agent decisions": {AuditOptions{LogAgentDecisions: true}, "agent_decision " + always},
		"waf events":      {AuditOptions{LogWAFEvents: true}, "waf_match waf_block " + always},
	} {
		t.Run(name, func(t *testing.T) {
			var written []string
			for _, event := range []string{
				EventBlocked, EventAgentDecision, EventWAFMatch, EventWAFBlock, EventConfigChange, EventCircuitBreakerChange,
				EventUpstreamHealthChange, "custom",
			} {
				if auditLine(t, c.o, AuditEntry{Event: event}) != "" {
					written = append(written, event)
				}
			}
			if got := strings.Join(written, " "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAuditLogBoundsItsLists(t *testing.T) {
	var e AuditEntry
	for i := range maxList + 1 {
		e.Tags = append(e.Tags, "tag")
		e.Metadata = append(e.Metadata, Attribute{strconv.Itoa(i), "v"})
	}
	var got struct {
		Tags      []string
		Metadata  map[string]string
		Truncated bool
	}
	if err := json.Unmarshal([]byte(auditLine(t, AuditOptions{}, e)), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Tags) != maxList || len(got.Metadata) != maxList || !got.Truncated {
		t.Errorf("%d tags, %d attributes, truncated %v", len(got.Tags), len(got.Metadata), got.Truncated)
	}
}
