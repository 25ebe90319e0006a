package agents

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// patience bounds every wait for something that must happen.
const patience = 10 * time.Second

// TestMain reports goroutines that the tests' agents leave behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && !settled() {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// settled waits until no goroutine runs code of an agent.
func settled() bool {
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(patience); time.Now().Before(end); runtime.Gosched() {
		text := string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(text, "agents.(*") {
			return true
		}
	}
	return false
}

// peer is the agent's end of a connection.
type peer struct {
	net.Conn
	r       *bufio.Reader
	dialect Dialect
	serial  int // of the connection, counted from 1
	greeted bool
}

// inquiry is a frame from the proxy.
type inquiry struct {
	kind  byte   // of v2
	event string // of V1
	raw   []byte
	body  map[string]any // the payload
}

// columns lists the frame types that an agent of a dialect knows.
var columns = map[Dialect]string{
	V2D: "\x10\x11\x12\x13\x30\x31\xe0\xe2\xf0",
	V2R: "\x10\x11\x12\x13\x14\x15\x16\x17\x40\x41",
}

// next reads a frame. An agent fails on every byte outside its dialect.
func (p *peer) next() (q inquiry, err error) {
	frame, err := readFrame(p.r)
	if err != nil {
		return q, err
	}
	if p.dialect == V1 {
		if frame[0] == typeHandshake && !p.greeted { // the proxy tries whether it is of v2: real ones close, too
			return q, io.EOF
		}
		p.greeted = true
		return decodeV1(frame)
	}
	q.kind, q.raw = frame[0], frame[1:]
	if !p.greeted {
		p.greeted = true
		if q.kind != typeHandshake {
			return q, fmt.Errorf("%s: frame %#x before the handshake", p.dialect, q.kind)
		}
	} else if !strings.ContainsRune(columns[p.dialect], rune(q.kind)) && strings.IndexByte(columns[p.dialect], q.kind) < 0 {
		return q, fmt.Errorf("%s: frame of type %#x", p.dialect, q.kind)
	}
	return q, json.Unmarshal(q.raw, &q.body)
}

func readFrame(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(length[:]))
	if len(frame) == 0 {
		return nil, errors.New("an empty frame")
	}
	_, err := io.ReadFull(r, frame)
	return frame, err
}

func decodeV1(frame []byte) (q inquiry, err error) {
	var envelope struct {
		Version int            `json:"version"`
		Event   string         `json:"event_type"`
		Payload map[string]any `json:"payload"`
	}
	if err := json.Unmarshal(frame, &envelope); err != nil {
		return q, err
	}
	q = inquiry{event: envelope.Event, raw: frame, body: envelope.Payload}
	known := []string{"configure"}
	for _, word := range eventTypes {
		known = append(known, word)
	}
	if envelope.Version != 1 || !strings.Contains(strings.Join(known, " "), q.event) {
		return q, fmt.Errorf("an envelope of version %d, %q", envelope.Version, q.event)
	}
	return q, nil
}

// send writes a frame; kind is left out in V1.
func (p *peer) send(kind byte, text string) {
	_, _ = p.Write(p.encode(kind, text))
}

func (p *peer) encode(kind byte, text string) []byte {
	payload := []byte(text)
	if p.dialect != V1 {
		payload = append([]byte{kind}, payload...)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

const (
	greetV2D = `{"protocol_version":2,"agent_name":"fake","capabilities":{"handles_request_headers":true,"supports_cancellation":true,"max_concurrent_requests":100},"accepted":true}`
	greetV2R = `{"protocol_version":2,"capabilities":{"agent_id":"fake","name":"Fake","version":"0.1","supported_events":[1],"features":{"concurrent_requests":0,"cancellation":true},"limits":{"max_concurrency":100}},"success":true,"error":null,"encoding":"json"}`
)

// id returns the request's id as the dialect's replies carry it.
func (q *inquiry) id() string {
	if id, ok := q.body["correlation_id"].(string); ok {
		return id
	}
	id, _ := q.body["metadata"].(map[string]any)["correlation_id"].(string)
	return id
}

// reply makes a reply of a decision, with more members like `,"needs_more":true`.
func (p *peer) reply(q *inquiry, decision, more string) string {
	switch p.dialect {
	case V2D:
		return fmt.Sprintf(`{"request_id":%.0f,"decision":%s%s}`, q.body["request_id"], decision, more)
	case V2R:
		return fmt.Sprintf(`{"version":2,"decision":%s,"audit":{"custom":{"correlation_id":%q}}%s}`, decision, q.id(), more)
	default:
		return fmt.Sprintf(`{"version":2,"decision":%s%s}`, decision, more)
	}
}

// echo makes a verdict that names what it answers.
func (p *peer) echo(q *inquiry) string {
	what := q.event
	if p.dialect != V1 {
		what = fmt.Sprintf("%#x", q.kind)
	}
	return p.reply(q, fmt.Sprintf(`{"block":{"status":403,"body":"%s %s"}}`, q.id(), what), "")
}

// greet answers the handshake, and reports whether to go on.
func (p *peer) greet() bool {
	if p.dialect == V1 {
		return true
	}
	if _, err := p.next(); err != nil {
		return false
	}
	p.send(typeHandshakeReply, map[Dialect]string{V2D: greetV2D, V2R: greetV2R}[p.dialect])
	return true
}

// asks reports whether the agent must answer.
func (q *inquiry) asks() bool {
	return q.kind >= typeRequestHeaders && q.kind <= 0x13 || q.event != "" && q.event != "configure" && q.event != "request_complete"
}

// fake is an agent in a test: script serves each connection, which is closed then.
type fake struct {
	t       testing.TB
	path    string
	dialect Dialect
	script  func(*peer)

	mu     sync.Mutex
	l      net.Listener
	open   []net.Conn
	conns  int
	faults []error // bytes that were no part of the dialect
	work   sync.WaitGroup
}

func newFake(t testing.TB, d Dialect, script func(*peer)) *fake {
	t.Helper()
	f := &fake{t: t, path: filepath.Join(t.TempDir(), "s"), dialect: d, script: script}
	t.Cleanup(func() {
		f.stop()
		for _, err := range f.faults {
			t.Errorf("the agent got %v", err)
		}
	})
	f.start()
	return f
}

func (f *fake) start() {
	l, err := net.Listen("unix", f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	f.l = l
	f.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns++
			p := &peer{Conn: c, r: bufio.NewReader(c), dialect: f.dialect, serial: f.conns}
			f.open = append(f.open, c)
			script := f.script
			f.mu.Unlock()
			f.work.Go(func() {
				defer func() { _ = c.Close() }()
				script(p)
			})
		}
	})
}

// play has script serve the connections that come from now on.
func (f *fake) play(script func(*peer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = script
}

// stop is what becomes of a process that is killed.
func (f *fake) stop() {
	_ = f.l.Close()
	f.mu.Lock()
	for _, c := range f.open {
		_ = c.Close()
	}
	f.open = nil
	f.mu.Unlock()
	f.work.Wait()
}

func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conns
}

// answering serves with handle for each question that asks; others get what the dialect says. A fault is
// what the dialect does not have.
func (f *fake) answering(handle func(p *peer, q *inquiry)) func(*peer) {
	return func(p *peer) {
		if !p.greet() {
			return
		}
		for {
			q, err := p.next()
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			var op *net.OpError
			if err != nil {
				if !errors.As(err, &op) {
					f.mu.Lock()
					f.faults = append(f.faults, err)
					f.mu.Unlock()
				}
				return
			}
			switch {
			case q.asks():
				handle(p, &q)
			case p.dialect == V1:
				p.send(0, `{"success":true}`)
			case q.kind == typesV2D.ping, q.kind == typesV2R.ping:
				p.send(q.kind+1, string(q.raw))
			case q.kind == typesV2R.configure:
				p.send(typeVerdict, p.reply(&q, `"allow"`, ""))
			}
		}
	}
}

// echoing is an agent that answers every question with its id and kind.
func echoing(t testing.TB, d Dialect) *fake {
	t.Helper()
	f := newFake(t, d, func(*peer) {})
	f.play(f.answering(func(p *peer, q *inquiry) { p.send(typeVerdict, p.echo(q)) }))
	return f
}

// handling is an agent with a script for questions.
func handling(t testing.TB, d Dialect, handle func(p *peer, q *inquiry)) *fake {
	t.Helper()
	f := newFake(t, d, func(*peer) {})
	f.play(f.answering(handle))
	return f
}

// notices is what an agent tells of itself.
type notices struct {
	mu   sync.Mutex
	list []Notice
	more chan struct{}
}

func newNotices() *notices { return &notices{more: make(chan struct{}, 1)} }

func (n *notices) add(notice Notice) {
	n.mu.Lock()
	n.list = append(n.list, notice)
	n.mu.Unlock()
	select {
	case n.more <- struct{}{}:
	default:
	}
}

// await waits for a notice of the kind, and forgets those up to it.
func (n *notices) await(t testing.TB, kind NoticeKind) Notice {
	t.Helper()
	timeout := time.After(patience)
	for {
		n.mu.Lock()
		for i, notice := range n.list {
			if notice.Kind == kind {
				n.list = n.list[i+1:]
				n.mu.Unlock()
				return notice
			}
		}
		n.mu.Unlock()
		select {
		case <-n.more:
		case <-timeout:
			t.Fatalf("no notice of kind %d", kind)
		}
	}
}

func options(path string) Options {
	return Options{
		ID: "fake", Network: "unix", Address: path, Timeout: time.Second, MaxCalls: 100, MaxWaiting: 100,
		MaxIdle: 5, IdleTimeout: time.Minute, Links: 4, ProxyVersion: "test",
		Breaker: breaker.Settings{FailureThreshold: 1000, SuccessThreshold: 1, HalfOpenMaxRequests: 1, Timeout: time.Minute},
	}
}

// begin makes an agent that is closed when the test ends.
func begin(t testing.TB, o Options) *Agent {
	t.Helper()
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(0) })
	a.Start()
	return a
}

func request(id string) *Request {
	return &Request{
		CorrelationID: []byte(id), RequestID: []byte("r-" + id), Client: netip.MustParseAddrPort("192.0.2.7:40001"),
		ServerName: []byte("example.test"), Protocol: "HTTP/1.1", Route: "api", Upstream: "backend",
		Time: time.Date(2025, 12, 29, 8, 0, 0, 0, time.UTC), Method: []byte("GET"), Path: []byte("/a"),
		Query: []byte("x=1"), HasQuery: true, Host: []byte("example.test"),
		Fields: []wire.Field{{Name: []byte("User-Agent"), Value: []byte("curl/8")}},
	}
}

func event(kind EventKind, id string) *Event {
	return &Event{Kind: kind, Request: request(id), Status: 200, Chunk: Chunk{Data: []byte(`{"a":`), Total: -1, Sent: 5}}
}

// ask asks within the patience.
func ask(t testing.TB, s *Session, e *Event) (*agent.Verdict, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.Ask(ctx, e)
}

// one asks about a request's headers alone.
func one(t testing.TB, a *Agent, id string, within time.Duration) (*agent.Verdict, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var s Session
	s.Begin(a, []byte(id))
	e := event(RequestHeaders, id)
	v, err := s.Ask(ctx, e)
	if err != nil {
		e = nil
	} else {
		e.Kind = RequestComplete
	}
	s.End(e)
	return v, err
}

// expect fails unless the error is a Failure of the kind.
func expect(t testing.TB, err error, kind FailureKind) {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) || f.Kind != kind {
		t.Fatalf("%v, want a failure of kind %s", err, kind)
	}
}

// body fails unless the verdict is a block with this body.
func body(t testing.TB, v *agent.Verdict, err error, want string) {
	t.Helper()
	if err != nil || v.Decision != agent.Blocked || v.Body != want {
		t.Fatalf("%+v, %v; want a block with %q", v, err, want)
	}
}

func allowed(t testing.TB, v *agent.Verdict, err error) {
	t.Helper()
	if err != nil || v.Decision != agent.Allowed {
		t.Fatalf("%+v, %v; want allow", v, err)
	}
}
