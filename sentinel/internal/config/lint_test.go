package config

import (
	"strings"
	"testing"
)

// tidy is a configuration that lint has nothing to say about.
const tidy = `system { }
listeners {
  listener "main" {
    address "127.0.0.1:8443"
    protocol "https"
    tls { cert-file "c"; key-file "k" }
  }
}
routes {
  route "api" {
    matches { path-prefix "/api" }
    upstream "u"
    filters "guard"
    retry-policy { max-attempts 2 }
    policies {
      timeout-secs 10
      failure-mode "closed"
      response-headers { set { "Strict-Transport-Security" "max-age=31536000" } }
    }
  }
}
upstreams {
  upstream "u" {
    target "127.0.0.1:9000"
    target "127.0.0.1:9001"
    health-check { type "tcp" }
  }
}
filters {
  filter "guard" { type "agent"; agent "w" }
}
agents {
  agent "w" type="waf" { unix-socket "/run/w.sock" }
}
observability {
  logging { access-log { file "-" } }
  metrics { }
}
`

func TestLint(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           []string // a part of each finding
	}{
		{name: "tidy"},
		{name: "no retry", old: "    retry-policy { max-attempts 2 }\n", want: []string{`10:3: routes.route "api": no retry policy`}},
		{name: "no timeout", old: "      timeout-secs 10\n", want: []string{"no timeout of its own"}},
		{name: "one attempt", old: "max-attempts 2", new: "max-attempts 1", want: []string{"max-attempts 1 never retries"}},
		{name: "backoff", old: "max-attempts 2", new: "max-attempts 2; backoff-base-ms 500; backoff-max-ms 100", want: []string{"backoff-base-ms 500 is above backoff-max-ms 100"}},
		{name: "retry budget", old: "max-attempts 2", new: "max-attempts 2; timeout-ms 5000", want: []string{"timeout-ms 5000 ends before one attempt may (timeout-secs 10)"}},
		{name: "only POST", old: `path-prefix "/api"`, new: `path-prefix "/api"; method "POST" "PATCH"`, want: []string{"no method of the route is idempotent"}},
		{name: "no HSTS", old: `"Strict-Transport-Security"`, new: `"X-Other"`, want: []string{"without a Strict-Transport-Security header"}},
		{name: "HSTS by filter", old: `filters "guard"`, new: `filters "guard" "hsts"`, want: nil},
		{name: "modes disagree", old: `type="waf" {`, new: `type="waf" { failure-mode "open";`, want: []string{`filter, route and agent "w" disagree on failure-mode; closed holds`}},
		{name: "waf fails open", old: `failure-mode "closed"`, new: `failure-mode "open"`, want: []string{`requests pass when agent "w" of type waf fails`}},
		{name: "filter fails open", old: `agent "w" }`, new: `agent "w"; failure-mode "open" }`, want: []string{"disagree on failure-mode; open holds", "requests pass when agent"}},
		{name: "custom agent fails open", old: `failure-mode "closed"`, new: `failure-mode "open"`, want: nil},
		{name: "asked twice", old: `filters "guard"`, new: `filters "guard" "again"`, want: []string{`10:3: routes.route "api": two filters ask agent "w" about request_headers`}},
		{name: "asked about other events", old: `filters "guard"`, new: `filters "guard" "bodies"`},
		{name: "inspection without waf", old: `type="waf" {`, new: `type="geo" {`, want: []string{"1:1: waf.body-inspection: no agent has the type waf"}},
		{name: "inspection", old: "system { }", new: "system { }; waf { body-inspection { } }"},
		{name: "no health check", old: `    health-check { type "tcp" }`, want: []string{`upstream "u": no health check`}},
		{name: "many attempts", old: "max-attempts 2", new: "max-attempts 3", want: []string{`max-attempts 3 is more than the targets of upstream "u" that get requests: 2`}},
		{name: "default attempts", old: "max-attempts 2", want: []string{`max-attempts 3 is more than`}},
		{
			name: "one target", old: `    target "127.0.0.1:9001"` + "\n",
			want: []string{"max-attempts 2 is more than", `23:3: upstreams.upstream "u": a single target; nothing takes over`},
		},
		{
			name: "one target is drained", old: `"127.0.0.1:9001"`, new: `"127.0.0.1:9001" weight=0`,
			want: []string{"max-attempts 2 is more than", "a single target;"},
		},
		{
			name: "one target without a check", old: "    target \"127.0.0.1:9001\"\n    health-check { type \"tcp\" }",
			want: []string{"max-attempts 2 is more than", "a single target without a health check"},
		},
		{name: "one name", old: "target \"127.0.0.1:9000\"\n    target \"127.0.0.1:9001\"", new: `target "backend.internal:9000"`},
		{name: "a name and an address", old: `"127.0.0.1:9001"`, new: `"backend.internal:9001" weight=0`},
		{name: "skip verify", old: `health-check { type "tcp" }`, new: `health-check { }; tls { insecure-skip-verify #true }`, want: []string{"insecure-skip-verify"}},
		{name: "agent tls", old: `unix-socket "/run/w.sock"`, new: `grpc "https://a.example:1" { tls-insecure }`, want: []string{"tls-insecure"}},
		{name: "agent in the clear", old: `unix-socket "/run/w.sock"`, new: `grpc "a.example:1"`, want: []string{"requests go to a.example:1 in the clear"}},
		{name: "agent on this machine", old: `unix-socket "/run/w.sock"`, new: `grpc "127.0.0.1:1"`},
		{name: "no access log", old: `access-log { file "-" }`, want: []string{"1:1: observability.logging.access-log: the access log is off"}},
		{name: "daemon", old: "system { }", new: `system { daemon #true }`, want: []string{"in the background without a pid-file", "standard output is gone"}},
		{name: "daemon with a pid-file", old: "system { }", new: `system { daemon #true; pid-file "/run/s/pid" }`, want: []string{"standard output is gone"}},
		{name: "no metrics", old: "  metrics { }\n", want: []string{"metrics are off"}},
		{name: "public metrics", old: "metrics { }", new: `metrics { address "0.0.0.0:9090" }`, want: []string{"metrics answer on 0.0.0.0:9090"}},
		{name: "no minimum rate", old: `protocol "https"`, new: "protocol \"https\"\nmin-body-rate-bytes 0", want: []string{"no minimum rate for request bodies"}},
		{
			name: "public status", old: "routes {\n", new: "route \"s\" { priority \"low\"; builtin-handler \"config\"; policies { response-headers { add { \"strict-transport-security\" \"max-age=1\" } } } }\nlistener \"pub\" { address \"0.0.0.0:81\" }\nroutes {\n",
			want: []string{"builtin-handler config answers on 0.0.0.0:81"},
		},
	}
	extra := map[string][2]string{
		"HSTS by filter":          {`{ set { "Strict-Transport-Security" "max-age=31536000" } }`, "{ }"},
		"custom agent fails open": {`type="waf"`, `type="geo"`},
		"asked twice":             {"filters {", `filters { filter "again" { type "agent"; agent "w"; timeout-ms 9 }`},
		"asked about other events": {
			`filter "guard" { type "agent"; agent "w" }
}
agents {
  agent "w" type="waf" {`, `filter "guard" { type "agent"; agent "w"; phase "request_headers" }
  filter "bodies" { type "agent"; agent "w"; phase "request_body" }
}
agents {
  agent "w" type="waf" { events "request_headers" "request_body";`,
		},
		"inspection without waf": {"system { }", "system { }; waf { body-inspection { } }"},
	}
	const hsts = "filter \"hsts\" { type \"headers\"; phase \"response\"; set { \"Strict-Transport-Security\" \"max-age=1\" } }\n"
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(tidy, test.old, test.new, 1)
			if pair, ok := extra[test.name]; ok {
				text = strings.Replace(text, pair[0], pair[1], 1)
			}
			if strings.Contains(text, `"hsts"`) {
				text += hsts
			}
			findings := Problems(Lint(loaded(t, text)))
			checkWarnings(t, findings, test.want)
			if findings.HasErrors() {
				t.Errorf("lint found errors: %v", findings)
			}
		})
	}
}

func TestLintPlainPort80(t *testing.T) {
	plain := strings.Replace(tidy, `address "127.0.0.1:8443"
    protocol "https"
    tls { cert-file "c"; key-file "k" }`, `address "127.0.0.1:80"`, 1)
	checkWarnings(t, Lint(loaded(t, plain)), []string{"plain http on port 80 and no listener with TLS"})
}
