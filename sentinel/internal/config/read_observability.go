package config

import "net/netip"

// observability reads the block `observability`.
func (r *reader) observability(b *block) Observability {
	var o Observability
	c, _ := b.block("logging")
	o.Logging = r.logging(c)
	if c, ok := b.block("metrics"); ok {
		o.Metrics = r.metrics(c)
	}
	if c, ok := b.block("tracing"); ok {
		o.Tracing = r.tracing(c)
	}
	b.done()
	return o
}

// logging reads `logging`. The environment comes before the file, so that one run can be verbose.
func (r *reader) logging(b *block) Logging {
	b.env = map[string]string{"level": r.levelVariable(), "format": "SENTINEL_LOG_FORMAT"}
	l := Logging{
		Level:      b.choice("level", "info", logLevels),
		Format:     b.choice("format", "json", oneOf("json", "pretty")),
		Timestamps: b.boolean("timestamps", true),
		File:       b.text("file", ""),
	}
	if c, ok := b.enabled("access-log"); ok {
		l.Access = r.accessLog(c)
	}
	if c, ok := b.enabled("error-log"); ok {
		l.Error = r.errorLog(c)
	}
	if c, ok := b.enabled("audit-log"); ok {
		l.Audit = r.auditLog(c)
	}
	b.done()
	return l
}

// levelVariable is the variable that sets the log level. RUST_LOG counts when it is a plain level: its
// filters by module mean nothing here.
func (r *reader) levelVariable() string {
	if v, ok := r.environment("RUST_LOG"); ok {
		if level, ok := v.data.(string); ok {
			_, plainLevel := logLevels.find(level)
			if _, ours := r.environment("SENTINEL_LOG"); plainLevel && !ours {
				return "RUST_LOG"
			}
		}
	}
	return "SENTINEL_LOG"
}

// enabled opens an optional block that its own `enabled` can switch off.
func (b *block) enabled(name string) (c *block, on bool) {
	c, ok := b.block(name)
	if !ok {
		b.note(name, kdlBool(false), "default")
		return nil, false
	}
	return c, c.boolean("enabled", true)
}

const defaultLogBuffer = 8192

var bufferRange = span{1, 64 << 20}

func (r *reader) accessLog(b *block) *AccessLog {
	a := &AccessLog{
		Pos:                b.node.pos,
		File:               b.text("file", "/var/log/sentinel/access.log"),
		Format:             b.choice("format", "json", oneOf("json custom", "combined clf common")),
		BufferSize:         b.integer("buffer-size", defaultLogBuffer, bufferRange),
		IncludeTraceID:     b.boolean("include-trace-id", true),
		SampleRate:         b.ratio("sample-rate", 1, interval{1, true}),
		SampleErrorsAlways: b.boolean("sample-errors-always", true),
	}
	b.unsupported("fields")
	b.done()
	return a
}

func (r *reader) errorLog(b *block) *ErrorLog {
	e := &ErrorLog{
		Pos:        b.node.pos,
		File:       b.text("file", "/var/log/sentinel/error.log"),
		Level:      b.choice("level", "warn", oneOf("warn", "error")),
		BufferSize: b.integer("buffer-size", defaultLogBuffer, bufferRange),
	}
	b.done()
	return e
}

func (r *reader) auditLog(b *block) *AuditLog {
	a := &AuditLog{
		Pos:          b.node.pos,
		File:         b.text("file", "/var/log/sentinel/audit.log"),
		BufferSize:   b.integer("buffer-size", defaultLogBuffer, bufferRange),
		LogBlocked:   b.boolean("log-blocked", true),
		LogDecisions: b.boolean("log-agent-decisions", true),
		LogWAFEvents: b.boolean("log-waf-events", true),
	}
	if a.File != "-" {
		b.needs("file", a.File, writable(a.File))
	}
	b.done()
	return a
}

// metrics reads `metrics`. The default address is not reachable from other machines.
func (r *reader) metrics(b *block) Metrics {
	m := Metrics{
		Enabled:         b.boolean("enabled", true),
		Address:         b.address("address"),
		Path:            b.text("path", "/metrics", "endpoint"),
		HighCardinality: b.boolean("high-cardinality", false),
	}
	if !b.written("address") {
		m.Address = netip.MustParseAddrPort("127.0.0.1:9090")
		b.note("address", kdlText(m.Address.String()), "default")
	}
	b.requestPath("path", m.Path)
	b.done()
	return m
}

// tracing reads `tracing`: a backend and its endpoint are required.
func (r *reader) tracing(b *block) *Tracing {
	b.lift("backend")
	on := b.boolean("enabled", true)
	t := &Tracing{
		Backend:      b.choice("backend", "", oneOf("otlp", "jaeger", "zipkin")),
		Endpoint:     b.text("endpoint", ""),
		ServiceName:  b.text("service-name", "sentinel"),
		SamplingRate: r.samplingRate(b),
	}
	b.done()
	if !on {
		return nil
	}
	for _, name := range []string{"backend", "endpoint"} {
		if !b.written(name) {
			b.fail(name, "missing setting "+kdlQuote(name), `expected backend "otlp" { endpoint "url" }`)
		}
	}
	return t
}

// samplingRate reads `sampling-rate`, or the block `sampling` that it may be written as.
func (r *reader) samplingRate(b *block) float64 {
	if b.first("sampling") == nil {
		return b.ratio("sampling-rate", 0.01, interval{1, true})
	}
	c, _ := b.block("sampling")
	rate := c.ratio("rate", 0.01, interval{1, true})
	c.done()
	return rate
}
