package telemetry

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultBufferSize is the buffer of a Writer whose options name none, in bytes.
	DefaultBufferSize = 8192

	flushInterval = time.Second            // the longest a line waits for others
	entryWait     = 100 * time.Millisecond // how long one entry may wait for its own write
	requestWait   = 2 * time.Second        // how long Flush, Reopen and Close wait for the sink

	minLimit      = 1 << 20 // bytes held for a slow sink, at least
	limitFactor   = 16      // the same, in buffer sizes
	initialFactor = 2       // what a buffer has room for at first, in buffer sizes
)

var (
	// ErrClosed reports the use of a closed Writer.
	ErrClosed = errors.New("log is closed")
	// ErrStuck reports that the sink did not take the lines in time. They stay in the buffer.
	ErrStuck = errors.New("log sink is stuck")
)

// WriterOptions configures a Writer. The zero value is usable.
type WriterOptions struct {
	BufferSize int             // bytes gathered before they are written; 0 or less: DefaultBufferSize
	EveryEntry bool            // write each entry before Append returns, waiting at most 100 ms
	Dropped    func(n int)     // told of every n lines that were lost; must not block; nil: nobody
	Failed     func(err error) // told once when the sink starts failing; must not block; nil: nobody
}

// Writer gathers lines in memory and writes them to a sink from one goroutine, when BufferSize bytes
// are there and at least once a second. It holds at most two buffers of 16 BufferSize each (1 MiB
// when that is more); what comes in beyond them is dropped in whole lines and counted. All methods
// may be called from any goroutine.
type Writer struct {
	options WriterOptions
	wakeAt  int // bytes in the buffer that wake the drain
	limit   int // bytes the buffer may hold
	stalled atomic.Bool

	mu     sync.Mutex // guards buf and closed
	buf    []byte
	closed bool

	wake     chan struct{}
	requests chan request
	quit     chan struct{}
	done     chan struct{} // closed by the drain when it ends; closeErr is set before
	closeErr error
}

// request asks the drain to write everything out now and, with reopen, to change to a fresh file.
type request struct {
	reopen bool
	reply  chan error // has room for the answer: the asker may have left
}

// NewWriter returns a Writer in front of sink. Close does not close the sink, Reopen only flushes.
func NewWriter(sink io.Writer, o WriterOptions) *Writer {
	return start(drain{sink: sink}, o)
}

// OpenWriter returns a Writer that appends to the file at path, made with mode 0640 when missing.
// The path "-" is standard output.
func OpenWriter(path string, o WriterOptions) (*Writer, error) {
	if path == "-" {
		return NewWriter(os.Stdout, o), nil
	}
	f, err := openLog(path)
	if err != nil {
		return nil, err
	}
	return start(drain{sink: f, file: f, path: path, heal: endsTorn(path)}, o), nil
}

func start(d drain, o WriterOptions) *Writer {
	if o.BufferSize <= 0 {
		o.BufferSize = DefaultBufferSize
	}
	w := &Writer{
		options:  o,
		wakeAt:   o.BufferSize,
		limit:    max(limitFactor*o.BufferSize, minLimit),
		buf:      make([]byte, 0, initialFactor*o.BufferSize),
		wake:     make(chan struct{}, 1),
		requests: make(chan request),
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	if o.EveryEntry {
		w.wakeAt = 1
	}
	d.w, d.spare = w, make([]byte, 0, initialFactor*o.BufferSize)
	go d.run()
	return w
}

// Append adds one line, which ends in a newline, to the log. It copies the line and does not wait
// for the sink, except as EveryEntry says. A line that does not fit is dropped and counted.
func (w *Writer) Append(line []byte) {
	w.mu.Lock()
	before := len(w.buf)
	if w.closed || before+len(line) > w.limit {
		w.mu.Unlock()
		w.drop(1)
		return
	}
	w.buf = append(w.buf, line...)
	after := len(w.buf)
	w.mu.Unlock()

	if before < w.wakeAt && after >= w.wakeAt {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	if w.options.EveryEntry {
		w.awaitEntry()
	}
}

// awaitEntry waits until the drain wrote what is in the buffer. Once one wait was in vain nobody
// waits again until the sink has taken something: a stuck disk must not hold up every request.
func (w *Writer) awaitEntry() {
	if w.stalled.Load() {
		return
	}
	if err := w.ask(request{}, entryWait); errors.Is(err, ErrStuck) {
		w.stalled.Store(true)
	}
}

// Flush writes out everything appended before it. It waits at most 2 s, then returns ErrStuck; after
// Close it returns ErrClosed, and otherwise the sink's error.
func (w *Writer) Flush() error { return w.ask(request{}, requestWait) }

// Reopen flushes, opens the path again and closes the old file: log rotation. When the path cannot
// be opened the old file stays in use and the error is returned. Errors are otherwise Flush's.
func (w *Writer) Reopen() error { return w.ask(request{reopen: true}, requestWait) }

// Close writes out what was appended and ends the Writer. It waits at most 2 s for the sink, then
// returns ErrStuck; lines that could not be written are dropped and counted. Later calls return what the
// first one did.
func (w *Writer) Close() error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.quit)
	}
	w.mu.Unlock()

	timer := time.NewTimer(requestWait)
	defer timer.Stop()
	select {
	case <-w.done:
		return w.closeErr
	case <-timer.C:
		return ErrStuck
	}
}

func (w *Writer) ask(r request, wait time.Duration) error {
	r.reply = make(chan error, 1)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case w.requests <- r:
	case <-w.done:
		return ErrClosed
	case <-timer.C:
		return ErrStuck
	}
	select {
	case err := <-r.reply:
		return err
	case <-timer.C:
		return ErrStuck
	}
}

func (w *Writer) drop(lines int) {
	if w.options.Dropped != nil && lines > 0 {
		w.options.Dropped(lines)
	}
}
