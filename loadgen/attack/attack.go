package attack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// A run that falls behind may take this many times its duration, and patience on top.
const (
	lag      = 5
	patience = 10 * time.Second
)

// Attack describes one run at a fixed rate.
type Attack struct {
	Target      netip.AddrPort
	Request     []byte // the bytes of one complete request; its answer must have status 200 and a Content-Length
	Connections int    // opened before the clock starts
	Rate        float64
	Duration    time.Duration
}

// Percentiles is the outcome of a run.
type Percentiles struct {
	Requests            int64
	P50, P90, P99, P999 time.Duration
	Max                 time.Duration
}

// Run sends Rate x Duration requests and returns when all are answered. Any failed request ends the run with an error.
func (a Attack) Run(ctx context.Context) (Percentiles, error) {
	r, err := a.open()
	if err != nil {
		return Percentiles{}, err
	}
	defer r.close()
	runtime.LockOSThread() // timer slack belongs to the thread
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return Percentiles{}, fmt.Errorf("asking for exact timers: %w", err)
	}
	r.plan.began = time.Now()
	if err := r.loop(ctx); err != nil {
		return Percentiles{}, fmt.Errorf("after %d answers from %v: %w", r.latency.TotalCount(), a.Target, err)
	}
	return percentiles(r.latency), nil
}

// run is the state of one Attack. Index i means the same connection in conns and polls.
type run struct {
	request []byte
	plan    schedule
	conns   []*conn
	polls   []unix.PollFd
	idle    []*conn // a stack, so that few connections do the work at low rates, as with a real pool
	sent    int
	latency *hdrhistogram.Histogram // nanoseconds
	buf     []byte
}

func (a Attack) open() (*run, error) {
	if a.Rate <= 0 || a.Connections < 1 || a.Duration <= 0 {
		return nil, errors.New("an attack needs a rate, a duration and connections")
	}
	r := &run{
		request: a.Request,
		plan:    schedule{interval: time.Duration(float64(time.Second) / a.Rate), total: int(a.Rate * a.Duration.Seconds())},
		latency: hdrhistogram.New(int64(time.Microsecond), int64(time.Minute), 3),
		buf:     make([]byte, 64<<10),
	}
	for range a.Connections {
		c, err := dial(a.Target)
		if err != nil {
			r.close()
			return nil, err
		}
		r.conns = append(r.conns, c)
		r.idle = append(r.idle, c)
		r.polls = append(r.polls, unix.PollFd{Fd: int32(c.fd), Events: unix.POLLIN})
	}
	return r, nil
}

func (r *run) loop(ctx context.Context) error {
	for r.latency.TotalCount() < int64(r.plan.total) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(r.plan.due(lag*r.plan.total)) > patience {
			return fmt.Errorf("%d of %d answers are missing", r.plan.total-int(r.latency.TotalCount()), r.plan.total)
		}
		if err := r.sendDue(); err != nil {
			return err
		}
		if err := r.wait(); err != nil {
			return err
		}
		if err := r.receive(); err != nil {
			return err
		}
	}
	return nil
}

// sendDue sends what is due, as far as there are idle connections.
func (r *run) sendDue() error {
	for len(r.idle) > 0 && r.sent < r.plan.total && !time.Now().Before(r.plan.due(r.sent)) {
		c := r.idle[len(r.idle)-1]
		r.idle = r.idle[:len(r.idle)-1]
		if err := c.send(r.request, r.plan.due(r.sent)); err != nil {
			return err
		}
		r.sent++
	}
	return nil
}

// wait sleeps until a connection can be read or the next request may leave.
func (r *run) wait() error {
	pause := time.Second // at most, to look at the context again
	if len(r.idle) > 0 && r.sent < r.plan.total {
		pause = min(pause, max(0, time.Until(r.plan.due(r.sent))))
	}
	timeout := unix.NsecToTimespec(int64(pause))
	_, err := unix.Ppoll(r.polls, &timeout, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("waiting for answers: %w", err)
	}
	return nil
}

func (r *run) receive() error {
	for i, c := range r.conns {
		if r.polls[i].Revents == 0 {
			continue
		}
		r.polls[i].Revents = 0
		done, err := c.read(r.buf)
		if err != nil {
			return err
		}
		if !done {
			continue
		}
		if err := r.latency.RecordValue(int64(time.Since(c.due))); err != nil {
			return fmt.Errorf("recording a latency: %w", err)
		}
		r.idle = append(r.idle, c)
	}
	return nil
}

func (r *run) close() {
	for _, c := range r.conns {
		c.close()
	}
}

func percentiles(h *hdrhistogram.Histogram) Percentiles {
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) }
	return Percentiles{
		Requests: h.TotalCount(),
		P50:      at(50),
		P90:      at(90),
		P99:      at(99),
		P999:     at(99.9),
		Max:      time.Duration(h.Max()),
	}
}
