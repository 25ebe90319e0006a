package config

import (
	"fmt"
	"path/filepath"
)

// system reads the block `system`. The environment comes before the file where a container sets it.
func (r *reader) system(b *block) System {
	b.env = map[string]string{
		"worker-threads":  "SENTINEL_WORKERS",
		"max-connections": "SENTINEL_MAX_CONNECTIONS",
	}
	s := System{
		WorkerThreads:   b.integer("worker-threads", 0, span{0, 1024}),
		MaxConnections:  b.integer("max-connections", 10_000, positive),
		ShutdownTimeout: b.seconds("graceful-shutdown-timeout-secs", 30, secondsOr0),
		ShutdownDelay:   b.seconds("shutdown-delay-secs", 0, secondsOr0),
		UpgradeTimeout:  b.seconds("upgrade-timeout-secs", 30, secondsMax),
		ReloadDrain:     b.seconds("reload-drain-secs", 60, secondsOr0),
		TraceIDFormat:   b.choice("trace-id-format", "tinyflake", oneOf("tinyflake", "uuid uuid4 uuidv4")),
		AdminSocket:     b.text("admin-socket", ""),
		AutoReload:      b.boolean("auto-reload", false),
		Daemon:          b.boolean("daemon", false),
		PIDFile:         b.text("pid-file", ""),
		User:            b.text("user", ""),
		Group:           b.text("group", ""),
		WorkingDir:      b.text("working-directory", ""),
		RouteCacheSize:  b.integer("route-cache-size", 1000, positive),
	}
	if s.WorkingDir != "" && !filepath.IsAbs(s.WorkingDir) { // a reload would look for it below itself
		b.fail("working-directory", kdlQuote(s.WorkingDir)+" is a relative name", "expected an absolute one")
		s.WorkingDir = ""
	}
	b.needs("pid-file", s.PIDFile, directory(filepath.Dir(s.PIDFile)))
	b.needs("admin-socket", s.AdminSocket, ownSocket(s.AdminSocket))
	b.needs("user", s.User, account(s.User))
	b.needs("group", s.Group, group(s.Group))
	b.needs("working-directory", s.WorkingDir, directory(s.WorkingDir))
	b.done()
	return s
}

// limits reads the block `limits`. Each size may be written with or without its unit.
func (r *reader) limits(b *block) Limits {
	l := Limits{
		MaxHeaderSize:           b.integer("max-header-size-bytes", 8192, positive, "max-header-size"),
		MaxHeaderCount:          b.integer("max-header-count", 100, positive),
		MaxHeaderName:           b.integer("max-header-name-bytes", 256, positive, "max-header-name"),
		MaxHeaderValue:          b.integer("max-header-value-bytes", 8192, positive, "max-header-value"),
		MaxBodySize:             b.size("max-body-size-bytes", 10<<20, bytesMax, "max-body-size"),
		MaxBodyInspection:       b.size("max-body-inspection-bytes", 1<<20, bytesMax, "max-body-inspection"),
		MaxDecompressionRatio:   b.ratio("max-decompression-ratio", 100, interval{hi: 1e6}),
		MaxDecompressedSize:     b.size("max-decompressed-size-bytes", 100<<20, bytesMax, "max-decompressed-size"),
		MaxConnectionsPerClient: b.integer("max-connections-per-client", 100, positive),
		MaxConnectionsPerRoute:  b.integer("max-connections-per-route", 1000, positive),
		MaxTotalConnections:     b.integer("max-total-connections", 10_000, positive),
		MaxIdlePerUpstream:      b.integer("max-idle-connections-per-upstream", 100, positive),
		MaxInFlight:             b.integer("max-in-flight-requests", 10_000, positive),
		MaxQueued:               b.integer("max-queued-requests", 1000, positive),
		QueueTimeout:            b.millis("queue-timeout-ms", 1000, millisMax),
		MaxAgentQueue:           b.integer("max-agent-queue-depth", 100, positive),
		MaxAgentBody:            b.size("max-agent-body-bytes", 1<<20, bytesMax, "max-agent-body"),
		MaxAgentResponse:        b.bound("max-agent-response-bytes", bytesMax, "max-agent-response"),
		MaxRPSGlobal:            int(b.bound("max-requests-per-second-global", positive)),
		MaxRPSPerClient:         int(b.bound("max-requests-per-second-per-client", positive)),
		MaxRPSPerRoute:          int(b.bound("max-requests-per-second-per-route", positive)),
		MaxMemory:               b.bound("max-memory-bytes", bytesMax, "max-memory"),
	}
	l.MaxMemoryPercent = b.ratio("max-memory-percent", 0, interval{hi: 100})
	l.MaxBodyBuffer = b.size("max-body-buffer-bytes", min(1<<20, l.MaxBodySize), bytesMax, "max-body-buffer")
	if l.MaxBodyBuffer > l.MaxBodySize {
		b.fail("max-body-buffer-bytes", "the buffer is larger than a body may be",
			fmt.Sprintf("expected at most max-body-size-bytes, which is %d", l.MaxBodySize))
	}
	b.ignored("max-in-flight-requests-per-worker", "requests do not belong to workers")
	b.done()
	return l
}
