package sentinel

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
)

// logs are the proxy's three logs about requests; each may be off (nil).
type logs struct {
	access  *telemetry.AccessLog
	errors  *telemetry.ErrorLog
	audit   *telemetry.AuditLog
	writers []*telemetry.Writer
	missing []string // why logs that the configuration has on are off
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

// nextLogs opens the logs of a configuration; nil: those in use are what it asks for. One that could not be opened
// before is tried again.
func (p *Proxy) nextLogs(c *config.Logging, old *snapshot) (*logs, error) {
	same := old != nil && config.Same(&old.cfg.Observability.Logging, c)
	if same && len(p.logs.Load().missing) == 0 {
		return nil, nil //nolint:nilnil // nothing is wrong
	}
	l, err := p.openLogs(c)
	if same && err != nil {
		return nil, nil //nolint:nilnil // an audit log that is open goes on; freshLogs tells
	}
	return l, err
}

// freshLogs starts fresh files if a reload left the logs as they were, since rotation often comes with one. It returns
// what is wrong with them. It may take seconds, when a log is stuck.
func (p *Proxy) freshLogs(before *logs) []string {
	l := p.logs.Load()
	if l != before {
		return l.missing
	}
	if err := l.reopen(); err != nil {
		return append(slices.Clone(l.missing), "a log cannot be reopened, the old file stays in use: "+err.Error())
	}
	return l.missing
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
		Failed: func(err error) {
			p.remark(slog.LevelError, "log cannot be written", slog.String("log", s.name), slog.String("error", err.Error()))
		},
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
	l.missing = append(l.missing, fmt.Sprintf("the %s log cannot be opened, going on without it: %v", s.name, err))
	return nil, nil
}

// reopen starts fresh files, after a rotation. One that fails keeps its old file, and does not hold up the others.
func (l *logs) reopen() error {
	failed := make([]error, len(l.writers))
	var all sync.WaitGroup
	for i, w := range l.writers {
		all.Go(func() { failed[i] = w.Reopen() })
	}
	all.Wait()
	return errors.Join(failed...)
}

func (l *logs) close() {
	for _, w := range l.writers {
		_ = w.Close() // its own Failed has been told
	}
}
