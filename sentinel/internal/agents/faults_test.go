package agents

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// piped makes the options' connections pipes, whose other end script serves.
func piped(o *Options, d Dialect, script func(*peer)) {
	o.dialer = func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer func() { _ = far.Close() }()
			script(&peer{Conn: far, r: bufio.NewReader(far), dialect: d})
		}()
		return near, nil
	}
}

// wrongs are what an agent does instead of answering, or beside. Each gets the question and its right answer.
var wrongs = []func(p *peer, q *inquiry, r *rand.Rand){
	func(p *peer, _ *inquiry, r *rand.Rand) { // garbage
		junk := make([]byte, 1+r.IntN(64))
		for i := range junk {
			junk[i] = byte(r.Uint32())
		}
		_, _ = p.Write(junk)
	},
	func(p *peer, q *inquiry, r *rand.Rand) { // a part of a frame, and the end
		frame := p.encode(typeVerdict, p.echo(q))
		_, _ = p.Write(frame[:r.IntN(len(frame))])
		_ = p.Close()
	},
	func(p *peer, _ *inquiry, r *rand.Rand) { // a giant
		_, _ = p.Write(binary.BigEndian.AppendUint32(nil, 16<<20+1+r.Uint32()>>1))
	},
	func(p *peer, _ *inquiry, _ *rand.Rand) { _, _ = p.Write([]byte{0, 0, 0, 0}) },
	func(p *peer, q *inquiry, _ *rand.Rand) { // the id of another, and the right one
		if p.dialect != V1 {
			p.send(typeVerdict, `{"request_id":5,"decision":"allow","audit":{"custom":{"correlation_id":"nobody"}}}`)
		}
		p.send(typeVerdict, p.echo(q))
	},
	func(p *peer, q *inquiry, _ *rand.Rand) { // late
		time.Sleep(3 * time.Second)
		p.send(typeVerdict, p.echo(q))
	},
	func(p *peer, q *inquiry, _ *rand.Rand) { // twice
		frame := p.encode(typeVerdict, p.echo(q))
		_, _ = p.Write(append(frame, frame...))
	},
	func(p *peer, _ *inquiry, _ *rand.Rand) { _ = p.Close() },
	func(*peer, *inquiry, *rand.Rand) {}, // silence
	func(p *peer, q *inquiry, _ *rand.Rand) { p.send(typeVerdict, p.reply(q, `"maybe"`, "")) },
	func(p *peer, q *inquiry, _ *rand.Rand) { p.send(typeVerdict, p.reply(q, `"allow"`, `,"audit":7`)) },
	func(p *peer, _ *inquiry, _ *rand.Rand) { p.send(typeVerdict, `{"request_id":0}`) },
	func(p *peer, _ *inquiry, _ *rand.Rand) { p.send(0x7f, `{}`) },
	func(p *peer, q *inquiry, _ *rand.Rand) { // byte for byte
		for _, c := range p.encode(typeVerdict, p.echo(q)) {
			_, _ = p.Write([]byte{c})
		}
	},
}

// TestFaultWalk is AG-04: in 10,000 requests past an agent that does everything wrong, no verdict is one that
// the agent did not give to that event of that request, and nothing is left behind.
func TestFaultWalk(t *testing.T) {
	const walks, workers = 3334, 4
	for _, d := range unixDialects {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &walk{t: t, dialect: d, random: rand.New(rand.NewPCG(uint64(d), 4))}
				o := options("pipe")
				o.Protocol = min(int(d), 2)
				piped(&o, d, w.serve)
				a := begin(t, o)
				var work sync.WaitGroup
				for i := range workers {
					work.Go(func() {
						for n := i; n < walks; n += workers {
							w.request(a, fmt.Sprint("r", n))
						}
					})
				}
				work.Wait()
				a.Close(0)
				time.Sleep(time.Minute) // the agent's own late answers
				if w.verdicts.Load() < walks/4 || w.failures.Load() < walks/4 {
					t.Errorf("%d verdicts, %d failures: no walk", w.verdicts.Load(), w.failures.Load())
				}
			})
		})
	}
}

type walk struct {
	t       *testing.T
	dialect Dialect

	mu       sync.Mutex // guards random
	random   *rand.Rand
	verdicts atomic.Int64
	failures atomic.Int64
}

func (w *walk) draw(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

func (w *walk) serve(p *peer) {
	if !p.greet() {
		return
	}
	own := rand.New(rand.NewPCG(uint64(w.draw(1<<30)), 1))
	for {
		q, err := p.next()
		if err != nil {
			return
		}
		switch {
		case !q.asks() && w.dialect == V1: // as some agents do: a verdict, which is nobody's
			frame := p.encode(0, p.echo(&q))
			if own.IntN(8) == 0 {
				frame = append(frame, frame...)
			}
			_, _ = p.Write(frame)
		case !q.asks():
		case own.IntN(3) == 0:
			wrongs[own.IntN(len(wrongs))](p, &q, own)
		default:
			p.send(typeVerdict, p.echo(&q))
		}
	}
}

func (w *walk) request(a *Agent, id string) {
	var s Session
	s.Begin(a, []byte(id))
	for _, kind := range []EventKind{RequestHeaders, RequestBody, ResponseHeaders} {
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		v, err := s.Ask(ctx, event(kind, id))
		cancel()
		if err != nil {
			w.failures.Add(1)
			s.End(nil)
			time.Sleep(time.Duration(w.draw(1000)) * time.Millisecond)
			return
		}
		want := fmt.Sprintf("%s %#x", id, typeRequestHeaders+int(kind))
		if w.dialect == V1 {
			want = id + " " + eventTypes[kind]
		}
		if v.Body != want {
			w.t.Errorf("%q for %q", v.Body, want)
		}
		w.verdicts.Add(1)
	}
	s.End(event(RequestComplete, id))
}

// FuzzFrame has a stream give back frames that were written, and nothing of what is none.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02ab\x00\x00\x00\x01c"))
	f.Add([]byte("\x7f\xff\xff\xffab"))
	f.Add([]byte("\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 10
		st := stream{reader: bufio.NewReader(bytes.NewReader(data)), max: limit}
		rest := data
		for {
			frame, failure := st.next()
			whole := len(rest) >= lengthSize && int(binary.BigEndian.Uint32(rest)) <= len(rest)-lengthSize
			if size := 0; whole {
				size = int(binary.BigEndian.Uint32(rest))
				whole = size >= 1 && size <= limit
			}
			if whole != (failure == nil) {
				t.Fatalf("%q: %v", rest, failure)
			}
			if failure != nil {
				if empty := len(rest) == 0; empty != (failure.Kind == Unavailable) {
					t.Fatalf("%q: %v", rest, failure)
				}
				return
			}
			if !bytes.Equal(frame, rest[lengthSize:lengthSize+len(frame)]) {
				t.Fatalf("%q of %q", frame, rest)
			}
			rest = rest[lengthSize+len(frame):]
		}
	})
}
