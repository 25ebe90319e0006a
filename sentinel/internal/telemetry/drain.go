package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// drain is the goroutine side of a Writer: the only one that touches the sink.
type drain struct {
	w       *Writer
	sink    io.Writer
	file    *os.File // the sink when the Writer opened it, else nil
	path    string
	pending []byte // swapped out of the Writer and not yet written
	spare   []byte // the empty buffer for the next swap; shares its memory with pending
	peak    int    // most bytes swapped out at once since the last tick
	torn    bool   // pending starts in the middle of a line
	heal    bool   // the file ends in the middle of a line that nobody will finish
	failing bool   // the last write failed: wait for the tick instead of trying at every line
}

// run ends after Close: it writes out the rest, closes the file and closes w.done.
func (d *drain) run() {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		select {
		case <-d.w.wake:
			if !d.failing {
				_ = d.flush() // reported by flush
			}
		case <-tick.C:
			_ = d.flush() // reported by flush
			d.shrink()
		case r := <-d.w.requests:
			r.reply <- d.serve(r)
		case <-d.w.quit:
			d.close()
			return
		}
	}
}

func (d *drain) serve(r request) error {
	err := d.flush()
	if !r.reopen || d.file == nil {
		return err
	}
	if err := d.reopen(); err != nil {
		return err
	}
	return d.flush()
}

// flush writes what is pending and then what is in the Writer's buffer. On an error the rest stays
// pending for the next try.
func (d *drain) flush() error {
	err := d.write()
	if err == nil {
		d.swap()
		err = d.write()
	}
	if err != nil && !d.failing && d.w.options.Failed != nil {
		d.w.options.Failed(err)
	}
	d.failing = err != nil
	d.w.stalled.Store(false) // the sink answered
	return err
}

func (d *drain) swap() {
	d.w.mu.Lock()
	d.pending, d.w.buf = d.w.buf, d.spare
	d.w.mu.Unlock()
	d.spare = d.pending[:0]
	d.peak = max(d.peak, len(d.pending))
}

// shrink gives a burst's memory back, one buffer at each tick. While the load lasts the buffers keep
// the size that it needs: a Writer must not allocate under load.
func (d *drain) shrink() {
	need := max(2*d.peak, initialFactor*d.w.options.BufferSize)
	if len(d.pending) == 0 && cap(d.spare) > 2*need {
		d.spare = make([]byte, 0, need)
	}
	d.peak = 0
}

func (d *drain) write() error {
	if len(d.pending) == 0 {
		return nil
	}
	if d.heal {
		if _, err := d.sink.Write(newline); err != nil {
			return err
		}
		d.heal = false
	}
	n, err := d.sink.Write(d.pending)
	if n > 0 {
		d.torn = d.pending[n-1] != '\n'
		d.pending = d.pending[n:]
	}
	if err == nil && len(d.pending) > 0 {
		err = io.ErrShortWrite
	}
	return err
}

// reopen changes to a fresh file. A line whose beginning is in the old file is given up: its end
// would be a broken line in the new one.
func (d *drain) reopen() error {
	f, err := openLog(d.path)
	if err != nil {
		return err
	}
	if d.torn {
		d.pending = d.pending[bytes.IndexByte(d.pending, '\n')+1:]
		d.torn = false
		d.w.drop(1)
	}
	old := d.file
	d.file, d.sink, d.heal = f, f, endsTorn(d.path)
	if err := old.Close(); err != nil {
		return fmt.Errorf("closing the rotated log %s: %w", d.path, err)
	}
	return nil
}

func (d *drain) close() {
	err := d.flush()
	d.w.mu.Lock()
	left := bytes.Count(d.pending, newline) + bytes.Count(d.w.buf, newline)
	d.w.mu.Unlock()
	d.w.drop(left)
	if d.file != nil {
		err = errors.Join(err, d.file.Close())
	}
	d.w.closeErr = err
	close(d.w.done)
}

var newline = []byte{'\n'}

// openLog opens a log for appending. O_NONBLOCK makes a FIFO without a reader an error: without it
// the open would hang, and with it the start of the proxy.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, 0o640) //nolint:gosec // G302: log readers have the group
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	return f, nil
}

// endsTorn reports whether a regular file ends within a line, as a full disk or a crash leaves it.
// A file that cannot be read is taken for whole.
func endsTorn(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return errors.Join(err, f.Close()) == nil && last[0] != '\n'
}
