package sentinel

import (
	"fmt"
	"io"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
)

// logs are the proxy's three logs about requests; each may be off (nil).
type logs struct {
	access  *telemetry.AccessLog
	errors  *telemetry.ErrorLog
	audit   *telemetry.AuditLog
	writers []*telemetry.Writer
}

// logSpec says where one log goes.
type logSpec struct {
	name     string
	sink     io.Writer // replaces the file, entry by entry
	file     string
	buffer   int
	required bool // a file that cannot be opened is an error: an audit trail with holes is none
	each     bool
}

// openLogs opens the logs of a configuration. An access or error log that cannot be opened is reported
// and left off: it must not keep the proxy from serving.
func (p *Proxy) openLogs(c *config.Logging) (*logs, error) {
	l := &logs{}
	if a := c.Access; a != nil {
		if w, _ := p.openLog(l, logSpec{name: "access", sink: p.options.AccessLog, file: a.File, buffer: a.BufferSize}); w != nil {
			l.access = telemetry.NewAccessLog(w, telemetry.AccessOptions{
				Format: a.Format, IncludeTraceID: a.IncludeTraceID, SampleRate: a.SampleRate,
				SampleErrorsAlways: a.SampleErrorsAlways, InstanceID: p.instance,
			})
		}
	}
	if e := c.Error; e != nil {
		if w, _ := p.openLog(l, logSpec{name: "error", sink: p.options.ErrorLog, file: e.File, buffer: e.BufferSize}); w != nil {
			l.errors = telemetry.NewErrorLog(w, telemetry.ErrorOptions{Level: e.Level})
		}
	}
	if a := c.Audit; a != nil {
		w, err := p.openLog(l, logSpec{name: "audit", sink: p.options.AuditLog, file: a.File, buffer: a.BufferSize, required: true, each: true})
		if err != nil {
			l.close()
			return nil, err
		}
		l.audit = telemetry.NewAuditLog(w, telemetry.AuditOptions{
			LogBlocked: a.LogBlocked, LogAgentDecisions: a.LogDecisions, LogWAFEvents: a.LogWAFEvents,
		})
	}
	return l, nil
}

func (p *Proxy) openLog(l *logs, s logSpec) (*telemetry.Writer, error) {
	o := telemetry.WriterOptions{
		BufferSize: s.buffer, EveryEntry: s.each || s.sink != nil, Dropped: p.metrics.LogDropped(s.name),
		Failed: func(err error) { p.log.Error("log cannot be written", "log", s.name, "error", err.Error()) },
	}
	if s.sink != nil {
		w := telemetry.NewWriter(s.sink, o)
		l.writers = append(l.writers, w)
		return w, nil
	}
	w, err := telemetry.OpenWriter(s.file, o)
	switch {
	case err == nil:
		l.writers = append(l.writers, w)
		return w, nil
	case s.required:
		return nil, fmt.Errorf("opening the %s log: %w", s.name, err)
	}
	p.log.Warn("log cannot be opened, going on without it", "log", s.name, "error", err.Error())
	return nil, nil
}

// reopen starts fresh files, after a rotation.
func (l *logs) reopen() error {
	for _, w := range l.writers {
		if err := w.Reopen(); err != nil {
			return err
		}
	}
	return nil
}

func (l *logs) close() {
	for _, w := range l.writers {
		_ = w.Close() // its own Failed has been told
	}
}
