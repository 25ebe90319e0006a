package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a sink that keeps what it gets and says so.
type memory struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	wrote chan struct{} // gets one for each write; nil: nobody is told
}

func (m *memory) Write(p []byte) (int, error) {
	m.mu.Lock()
	n, err := m.buf.Write(p)
	m.mu.Unlock()
	if m.wrote != nil {
		m.wrote <- struct{}{}
	}
	return n, err
}

func (m *memory) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buf.String()
}

// gate is a sink that takes nothing before it is opened.
type gate struct {
	memory
	entered chan struct{} // gets one when a write begins to wait
	open    chan struct{}
}

func newGate() *gate {
	return &gate{entered: make(chan struct{}, 1), open: make(chan struct{})}
}

func (g *gate) Write(p []byte) (int, error) {
	select {
	case g.entered <- struct{}{}:
	default:
	}
	<-g.open
	return g.memory.Write(p)
}

// counter returns a Dropped function and its sum.
func counter() (func(int), *atomic.Int64) {
	n := new(atomic.Int64)
	return func(d int) { n.Add(int64(d)) }, n
}

func closeWriter(t *testing.T, w *Writer) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestWriterWritesWhenTheBufferIsFull(t *testing.T) {
	sink := &memory{wrote: make(chan struct{}, 8)}
	w := NewWriter(sink, WriterOptions{BufferSize: 10})
	defer closeWriter(t, w)
	w.Append([]byte("12345\n"))
	w.Append([]byte("67890\n"))
	<-sink.wrote
	if got, want := sink.String(), "12345\n67890\n"; got != want {
		t.Errorf("sink has %q, want %q", got, want)
	}
}

func TestWriterFlushesEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{wrote: make(chan struct{}, 8)}
		w := NewWriter(sink, WriterOptions{})
		defer closeWriter(t, w)
		start := time.Now()
		w.Append([]byte("one\n"))
		<-sink.wrote
		if waited := time.Since(start); waited > time.Second {
			t.Errorf("the line waited %v", waited)
		}
		if got := sink.String(); got != "one\n" {
			t.Errorf("sink has %q", got)
		}
	})
}

func TestWriterFlush(t *testing.T) {
	sink := &memory{}
	w := NewWriter(sink, WriterOptions{})
	defer closeWriter(t, w)
	w.Append([]byte("one\n"))
	if got := sink.String(); got != "" {
		t.Errorf("before Flush the sink has %q", got)
	}
	if err := w.Flush(); err != nil || sink.String() != "one\n" {
		t.Errorf("Flush: %v, sink has %q", err, sink.String())
	}
}

// A sink that takes nothing must not hold up Append, and what it lost is known to the line.
func TestWriterDropsWholeLinesWhenTheSinkBlocks(t *testing.T) {
	sink := newGate()
	dropped, lost := counter()
	w := NewWriter(sink, WriterOptions{BufferSize: 64, Dropped: dropped})
	line := []byte(strings.Repeat("x", 999) + "\n")
	w.Append(line)
	<-sink.entered
	sent := 1
	for ; lost.Load() < 100 && sent < 100_000; sent++ {
		w.Append(line)
	}
	if held := sent * len(line); held > 2*minLimit {
		t.Errorf("%d bytes were taken before the first line was dropped", held)
	}
	close(sink.open)
	closeWriter(t, w)
	got := sink.String()
	if n := strings.Count(got, string(line)); n*len(line) != len(got) {
		t.Errorf("%d bytes are not %d whole lines", len(got), n)
	} else if int64(n)+lost.Load() != int64(sent) {
		t.Errorf("%d written + %d dropped of %d", n, lost.Load(), sent)
	}
}

func TestWriterEveryEntry(t *testing.T) {
	sink := &memory{}
	w := NewWriter(sink, WriterOptions{EveryEntry: true})
	defer closeWriter(t, w)
	for i := range 3 {
		w.Append([]byte("x\n"))
		if got := strings.Count(sink.String(), "\n"); got != i+1 {
			t.Errorf("after %d entries the sink has %d", i+1, got)
		}
	}
}

// One entry waits its 100 ms for a stuck sink; the next ones know and do not.
func TestEveryEntryWaitsOnceForAStuckSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newGate()
		w := NewWriter(sink, WriterOptions{EveryEntry: true})
		start := time.Now()
		for range 50 {
			w.Append([]byte("x\n"))
		}
		if waited := time.Since(start); waited != entryWait {
			t.Errorf("50 entries waited %v, want %v", waited, entryWait)
		}
		close(sink.open)
		synctest.Wait()
		if got := strings.Count(sink.String(), "\n"); got != 50 {
			t.Errorf("%d entries arrived after the sink woke up", got)
		}
		w.Append([]byte("y\n"))
		if !strings.HasSuffix(sink.String(), "y\n") {
			t.Error("entries are not waited for again")
		}
		closeWriter(t, w)
	})
}

// flaky is a sink that takes room bytes and then fails until it is given more.
type flaky struct {
	memory
	room atomic.Int64
}

func newFlaky(room int64) *flaky {
	f := new(flaky)
	f.room.Store(room)
	return f
}

var errFull = errors.New("no space left")

func (f *flaky) Write(p []byte) (int, error) {
	n := min(int(f.room.Load()), len(p))
	f.room.Add(-int64(n))
	_, _ = f.memory.Write(p[:n]) // a bytes.Buffer does not fail
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestWriterKeepsLinesOfAFailingSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []error
		dropped, lost := counter()
		sink := newFlaky(6)
		w := NewWriter(sink, WriterOptions{Dropped: dropped, Failed: func(err error) { told = append(told, err) }})
		w.Append([]byte("1234\n"))
		w.Append([]byte("5678\n"))
		for range 2 {
			if err := w.Flush(); !errors.Is(err, errFull) {
				t.Errorf("Flush: %v", err)
			}
		}
		if len(told) != 1 {
			t.Errorf("told of the failure %d times, want once", len(told))
		}
		sink.room.Store(1000)
		<-time.After(2 * flushInterval) // of the bubble's clock: there is a retry at each tick
		if got := sink.String(); got != "1234\n5678\n" {
			t.Errorf("sink has %q", got)
		}
		closeWriter(t, w)
		if lost.Load() != 0 {
			t.Errorf("%d lines counted as dropped", lost.Load())
		}
	})
}

func TestWriterClose(t *testing.T) {
	sink := &memory{}
	dropped, lost := counter()
	w := NewWriter(sink, WriterOptions{Dropped: dropped})
	w.Append([]byte("last\n"))
	closeWriter(t, w)
	closeWriter(t, w)
	if got := sink.String(); got != "last\n" {
		t.Errorf("sink has %q", got)
	}
	w.Append([]byte("late\n"))
	if lost.Load() != 1 {
		t.Errorf("a line after Close: %d dropped, want 1", lost.Load())
	}
	for name, err := range map[string]error{"Flush": w.Flush(), "Reopen": w.Reopen()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

func TestWriterCloseCountsWhatIsLost(t *testing.T) {
	dropped, lost := counter()
	w := NewWriter(newFlaky(3), WriterOptions{Dropped: dropped})
	w.Append([]byte("1\n2\n"))
	w.Append([]byte("3\n"))
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close: %v", err)
	}
	if lost.Load() != 2 {
		t.Errorf("%d lines counted as dropped, want 2", lost.Load())
	}
}

func TestWriterDoesNotWaitForEverForAStuckSink(t *testing.T) {
	for name, call := range map[string]func(*Writer) error{
		"Flush": (*Writer).Flush, "Reopen": (*Writer).Reopen, "Close": (*Writer).Close,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := newGate()
				w := NewWriter(sink, WriterOptions{BufferSize: 1})
				w.Append([]byte("x\n"))
				<-sink.entered
				start := time.Now()
				if err := call(w); !errors.Is(err, ErrStuck) {
					t.Errorf("%v", err)
				}
				if waited := time.Since(start); waited != requestWait {
					t.Errorf("waited %v, want %v", waited, requestWait)
				}
				close(sink.open)
				closeWriter(t, w)
			})
		})
	}
}

func TestWriterKeepsLinesWhole(t *testing.T) {
	sink := &memory{}
	w := NewWriter(sink, WriterOptions{BufferSize: 256})
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				w.Append(fmt.Appendf(nil, "%d:%d:%s\n", i, j, strings.Repeat("z", j%50)))
			}
		})
	}
	wg.Wait()
	closeWriter(t, w)
	next := [writers]int{}
	for line := range strings.Lines(sink.String()) {
		var i, j int
		var tail string
		if n, _ := fmt.Sscanf(line, "%d:%d:%s\n", &i, &j, &tail); n < 2 || j != next[i] || len(tail) != j%50 {
			t.Fatalf("torn or reordered line %q", line)
		}
		next[i]++
	}
	for i, n := range next {
		if n != each {
			t.Errorf("writer %d: %d lines of %d", i, n, each)
		}
	}
}

func TestWriterGivesABurstsMemoryBack(t *testing.T) {
	d := drain{w: &Writer{options: WriterOptions{BufferSize: 1024}}, sink: &memory{}}
	d.w.buf = make([]byte, 0, 1<<20)
	d.spare = make([]byte, 0, 1<<20)
	for range 3 {
		if err := d.flush(); err != nil {
			t.Fatal(err)
		}
		d.shrink()
	}
	if got := cap(d.w.buf) + cap(d.spare); got > 8*1024 {
		t.Errorf("%d bytes are kept", got)
	}
}
