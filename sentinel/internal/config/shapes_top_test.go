package config

import (
	"net/netip"
	"testing"
	"time"
)

func TestLimitShapes(t *testing.T) {
	def := Limits{
		MaxHeaderSize: 8192, MaxHeaderCount: 100, MaxHeaderName: 256, MaxHeaderValue: 8192, MaxBodySize: 10 << 20, MaxBodyBuffer: 1 << 20,
		MaxBodyInspection: 1 << 20, MaxDecompressionRatio: 100, MaxDecompressedSize: 100 << 20, MaxConnectionsPerClient: 100,
		MaxConnectionsPerRoute: 1000, MaxTotalConnections: 10_000, MaxIdlePerUpstream: 100, MaxInFlight: 10_000, MaxQueued: 1000, QueueTimeout: time.Second,
		MaxAgentQueue: 100, MaxAgentBody: 1 << 20,
	}
	with := func(change func(*Limits)) Limits {
		l := def
		change(&l)
		return l
	}
	header := with(func(l *Limits) { l.MaxHeaderSize, l.MaxHeaderValue, l.MaxHeaderName = 1, 2, 3 })
	checkShapes(t, func(c *Config) Limits { return c.Limits }, []shape[Limits]{
		{name: "absent", text: withTop(""), want: def},
		{name: "with unit", text: withTop("limits { max-header-size-bytes 1; max-header-value-bytes 2; max-header-name-bytes 3 }"), want: header},
		{name: "without unit", text: withTop("limits { max-header-size 1; max-header-value 2; max-header-name 3 }"), want: header},
		{name: "buffer follows body", text: withTop("limits { max-body-size 5 }"), want: with(func(l *Limits) { l.MaxBodySize, l.MaxBodyBuffer = 5, 5 })},
		{name: "rates", text: withTop("limits { max-requests-per-second-global 5; max-requests-per-second-per-client #null; max-requests-per-second-per-route 6 }"), want: with(func(l *Limits) {
			l.MaxRPSGlobal, l.MaxRPSPerRoute = 5, 6
		})},
		{name: "agent response", text: withTop("limits { max-agent-response 5 }"), want: with(func(l *Limits) { l.MaxAgentResponse = 5 })},
		{name: "no agent response", text: withTop("limits { max-agent-response-bytes #null }"), want: def},
		{name: "memory", text: withTop("limits { max-memory-bytes 5; max-memory-percent 80 }"), want: with(func(l *Limits) { l.MaxMemory, l.MaxMemoryPercent = 5, 80 })},
		{name: "ratio", text: withTop("limits { max-decompression-ratio 10 }"), want: with(func(l *Limits) { l.MaxDecompressionRatio = 10 })},
		{
			name: "per worker", text: withTop("limits { max-in-flight-requests-per-worker 5 }"), want: def,
			warnings: []string{"has no effect: requests do not belong to workers"},
		},
	})
}

func TestObservabilityShapes(t *testing.T) {
	pick := func(c *Config) Observability {
		o := c.Observability
		if o.Logging.Access != nil {
			o.Logging.Access.Pos = Pos{}
		}
		if o.Logging.Error != nil {
			o.Logging.Error.Pos = Pos{}
		}
		if o.Logging.Audit != nil {
			o.Logging.Audit.Pos = Pos{}
		}
		return o
	}
	def := Observability{Logging: Logging{Level: "info", Format: "json", Timestamps: true}}
	with := func(change func(*Observability)) Observability {
		o := def
		change(&o)
		return o
	}
	top := func(body string) string { return withTop("observability {\n" + body + "\n}") }
	access := AccessLog{File: "/var/log/sentinel/access.log", Format: "json", BufferSize: 8192, IncludeTraceID: true, SampleRate: 1, SampleErrorsAlways: true}
	common := access
	common.File, common.Format, common.SampleRate = "-", "combined", 0.5
	local := Metrics{Enabled: true, Address: netip.MustParseAddrPort("127.0.0.1:9090"), Path: "/metrics"}
	otlp := &Tracing{Backend: "otlp", Endpoint: "http://127.0.0.1:4317", SamplingRate: 0.01, ServiceName: "sentinel"}
	checkShapes(t, pick, []shape[Observability]{
		{name: "absent", text: withTop(""), want: def},
		{name: "logging", text: top(`logging { level "WARN"; format pretty; timestamps #false; file "/l" }`), want: with(func(o *Observability) {
			o.Logging = Logging{Level: "warn", Format: "pretty", File: "/l"}
		})},
		{name: "access log", text: top(`logging { access-log { format "custom" } }`), want: with(func(o *Observability) { o.Logging.Access = &access })},
		{name: "access log options", text: top(`logging { access-log { file "-"; format "clf"; sample-rate 0.5 } }`), want: with(func(o *Observability) { o.Logging.Access = &common })},
		{name: "access log off", text: top(`logging { access-log { enabled #false } }`), want: def},
		{name: "access log fields", text: top(`logging { access-log { fields { status #true } } }`), want: with(func(o *Observability) { o.Logging.Access = &access }), warnings: []string{"fields: not supported in this build"}},
		{name: "error log", text: top(`logging { error-log { level "error" } }`), want: with(func(o *Observability) {
			o.Logging.Error = &ErrorLog{File: "/var/log/sentinel/error.log", Level: "error", BufferSize: 8192}
		})},
		{name: "audit log", text: top(`logging { audit-log { log-waf-events #false } }`), want: with(func(o *Observability) {
			o.Logging.Audit = &AuditLog{File: "/var/log/sentinel/audit.log", BufferSize: 8192, LogBlocked: true, LogDecisions: true}
		})},
		{name: "metrics", text: top("metrics { }"), want: with(func(o *Observability) { o.Metrics = local })},
		{name: "metrics options", text: top(`metrics { address "[::1]:1"; endpoint "/m"; high-cardinality true }`), want: with(func(o *Observability) {
			o.Metrics = Metrics{Enabled: true, Address: netip.MustParseAddrPort("[::1]:1"), Path: "/m", HighCardinality: true}
		})},
		{name: "metrics off", text: top("metrics { enabled #false }"), want: with(func(o *Observability) { o.Metrics = local; o.Metrics.Enabled = false })},
		{name: "tracing", text: top(`tracing { backend "otlp" { endpoint "http://127.0.0.1:4317" } }`), want: with(func(o *Observability) { o.Tracing = otlp })},
		{name: "tracing off", text: top(`tracing { enabled #false }`), want: def},
		{name: "tracing sampling", text: top(`tracing { backend "otlp"; endpoint "http://127.0.0.1:4317"; sampling { rate 0.01 } }`), want: with(func(o *Observability) { o.Tracing = otlp })},
	})
}

func TestTopLevel(t *testing.T) {
	checkShapes(t, func(c *Config) int { return len(c.Routes) }, []shape[int]{
		{name: "schema version", text: withTop(`schema-version "1.0"`), want: 1},
		{name: "version", text: withTop(`version "1.0"`), want: 1},
		{name: "newer schema", text: withTop(`schema-version "1.7"`), want: 1, warnings: []string{"schema version 1.7 is newer than 1.0"}},
		{name: "not built", text: withTop("waf { mode \"off\" }\ncache { }\nnamespace \"n\" { }\nmetadata { }"), want: 1, warnings: []string{
			"waf.mode: not supported in this build, ignored", "cache: not", "namespace: not", "metadata: not",
		}},
		{name: "singular and plural", text: withTop("route \"two\" { matches { path \"/2\" }; upstream \"u\" }\nroutes { route \"three\" { matches { path \"/3\" }; upstream \"u\" } }"), want: 3},
		{name: "unused upstream", text: withTop(`upstream "spare" { target "127.0.0.1:1" }`), want: 1, warnings: []string{`upstream "spare": nothing refers to this upstream`}},
		{name: "unused filter", text: withTop(`filter "spare" { type "log" }`), want: 1, warnings: []string{`filter "spare": nothing refers to this filter`}},
		{name: "unused agent", text: withTop(`agent "spare" { unix-socket "/a" }`), want: 1, warnings: []string{`agent "spare": nothing refers to this agent`}},
		{name: "shadowed route", text: withTop(`route "late" { matches { path-prefix "/api" }; upstream "u" }`), want: 2, warnings: []string{`route "late": the route can never win; route "api" at`}},
		{name: "shadowed by priority", text: withTop(`route "late" { priority 60; matches { path-prefix "/api" }; upstream "u" }`), want: 2, warnings: []string{`route "api": the route can never win; route "late" at`}},
		{name: "same path elsewhere", text: withTop(`route "late" { matches { path-prefix "/api"; method "GET" }; upstream "u" }`), want: 2},
	})
}
