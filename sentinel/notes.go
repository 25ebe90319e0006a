package sentinel

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// maxQueuedNotes and maxQueuedBytes bound what waits in one queue to be written.
const (
	maxQueuedNotes = 1024
	maxQueuedBytes = 8 << 20
)

// note is one line for the log.
type note struct {
	at    time.Time
	what  string
	level slog.Level
	attrs []slog.Attr
	bytes int64
}

// notes carries lines to the log, in their order. The log may be slow, or stuck, so nobody waits for it: what does
// not fit is counted and dropped.
type notes struct {
	queue chan note
	quit  chan struct{} // closed: write what is there, and end
	done  chan struct{} // closed when run has ended
	lost  func(n int)   // counts what did not fit
	held  atomic.Int64  // bytes in the queue
}

func newNotes(lost func(int)) *notes {
	return &notes{queue: make(chan note, maxQueuedNotes), quit: make(chan struct{}), done: make(chan struct{}), lost: lost}
}

// add never waits.
func (q *notes) add(what string, level slog.Level, attrs []slog.Attr) {
	n := note{at: time.Now(), what: what, level: level, attrs: attrs, bytes: int64(len(what))}
	for i := range attrs {
		n.bytes += int64(len(attrs[i].Key) + len(attrs[i].Value.String()))
	}
	if q.held.Add(n.bytes) <= maxQueuedBytes {
		select {
		case q.queue <- n:
			return
		default:
		}
	}
	q.held.Add(-n.bytes)
	q.lost(1)
}

// run writes what is added until close.
func (q *notes) run(write func(*note)) {
	defer close(q.done)
	for {
		select {
		case n := <-q.queue:
			q.write(&n, write)
			continue
		case <-q.quit:
		}
		select {
		case n := <-q.queue:
			q.write(&n, write)
		default:
			return
		}
	}
}

func (q *notes) write(n *note, write func(*note)) {
	write(n)
	q.held.Add(-n.bytes)
}

// close ends run once it has written everything; what is added after that is lost. It may be called once.
func (q *notes) close() {
	close(q.quit)
	<-q.done
}

// logNote writes a note with the time at which it was added.
func (p *Proxy) logNote(n *note) {
	r := slog.NewRecord(n.at, n.level, n.what, 0)
	r.AddAttrs(n.attrs...)
	_ = p.log.Handler().Handle(context.Background(), r) // where should it be told?
}

// remark logs without waiting for the log. Whoever accepts, sweeps or serves says what it has to say this way: a
// standard error that nobody reads must stop none of them.
func (p *Proxy) remark(level slog.Level, what string, attrs ...slog.Attr) {
	if p.log.Enabled(context.Background(), level) {
		p.remarks.add(what, level, attrs)
	}
}
