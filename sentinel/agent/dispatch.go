package agent

import (
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"time"
)

// What a dispatcher keeps at most; the oldest requests are forgotten over it.
const (
	maxExchanges   = 1 << 16
	maxKept        = 256 << 20 // bytes of heads and bodies
	defaultMaxBody = 1 << 20
)

// errPanic is what a panic of the handler becomes where an error is told.
var errPanic = errors.New("the agent failed on its configuration")

// dispatcher calls the Handler for the events of requests, whatever dialect they came in. It keeps what later
// events of a request need, turns everything that is no verdict into an undecided one, and sees to it that
// one request's events are handled one after the other, and end with one Complete.
//
// Its methods may be called from any goroutine. Those that return a verdict never return nil.
type dispatcher struct {
	handler Handler
	chunks  bool
	maxBody int64
	log     *slog.Logger

	configuring sync.Mutex
	configured  json.RawMessage // the last configuration that the handler took

	mu        sync.Mutex // guards the rest, and every exchange in it
	exchanges map[key]*exchange
	order     list.List // of *exchange, the oldest first
	kept      int       // bytes of all exchanges
	panicked  time.Time // when a panic was last logged
}

// key names a request: by its number in V2D, by its correlation id in the other dialects. conn is zero, but
// in V1, where each connection is a world of its own.
type key struct {
	conn   uint64
	number uint64
	id     string
}

// exchange is what is kept of one request.
type exchange struct {
	key          key
	place        *list.Element // nil: forgotten
	request      *Request
	response     *Response // nil: not yet
	requestBody  body
	responseBody body
	kept         int                // bytes
	cancel       context.CancelFunc // of the call under way; nil: none
	end          *Complete          // of a request that ended during a call: for the call's end
}

// body is what has come of a body that the handler gets in one piece.
type body struct {
	data  []byte
	parts int
	over  bool // more than the limit came: nothing is kept, and no verdict is possible
}

func newDispatcher(s *Server) *dispatcher {
	d := &dispatcher{
		handler: s.Handler, chunks: s.Chunks, maxBody: s.MaxBody, log: s.Log, exchanges: map[key]*exchange{},
	}
	if d.maxBody <= 0 {
		d.maxBody = defaultMaxBody
	}
	if d.log == nil {
		d.log = slog.Default()
	}
	return d
}

// configure gives the handler a configuration, unless it is the one it has: every connection brings it again.
// None at all, or null, leaves the handler as it is.
func (d *dispatcher) configure(ctx context.Context, config json.RawMessage) (err error) {
	if len(config) == 0 || string(config) == "null" {
		return nil
	}
	d.configuring.Lock()
	defer d.configuring.Unlock()
	if d.configured != nil && string(d.configured) == string(config) {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			d.logPanic(p)
			err = errPanic
		}
	}()
	if err := d.handler.Configure(ctx, config); err != nil {
		return err
	}
	d.configured = append(json.RawMessage{}, config...)
	return nil
}

// requestHeaders begins a request and asks about it. One that had the same key is over.
func (d *dispatcher) requestHeaders(ctx context.Context, k key, r *Request) *Verdict {
	x := &exchange{key: k, request: r, kept: r.size()}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x.cancel = cancel
	d.begin(x)
	defer d.release(x)
	return d.head(func() *Verdict { return d.handler.RequestHeaders(ctx, r) })
}

// responseHeaders asks about the answer to a request.
func (d *dispatcher) responseHeaders(ctx context.Context, k key, resp *Response) *Verdict {
	return d.ask(ctx, k, func(ctx context.Context, x *exchange) *Verdict {
		x.response = resp
		return d.head(func() *Verdict { return d.handler.ResponseHeaders(ctx, x.request, resp) })
	})
}

// requestBody asks about a part of the request's body, or takes it for when the whole body is there.
func (d *dispatcher) requestBody(ctx context.Context, k key, c *Chunk) *Verdict {
	return d.ask(ctx, k, func(ctx context.Context, x *exchange) *Verdict {
		return d.body(x, &x.requestBody, c, func(c *Chunk) *Verdict {
			return d.handler.RequestBody(ctx, x.request, c)
		})
	})
}

// responseBody is like requestBody. It needs the response's head to have come.
func (d *dispatcher) responseBody(ctx context.Context, k key, c *Chunk) *Verdict {
	return d.ask(ctx, k, func(ctx context.Context, x *exchange) *Verdict {
		if x.response == nil {
			return &Verdict{}
		}
		return d.body(x, &x.responseBody, c, func(c *Chunk) *Verdict {
			return d.handler.ResponseBody(ctx, x.request, x.response, c)
		})
	})
}

// complete ends a request: the handler is told how, once, after any call that is under way for it.
func (d *dispatcher) complete(k key, c *Complete) {
	if !d.end(k, c) { // the proxy asks nothing of an agent that wants to hear of ends only
		d.tell(&exchange{request: &Request{Metadata: Metadata{CorrelationID: k.id}}}, c)
	}
}

// end forgets a request, if it is known.
func (d *dispatcher) end(k key, c *Complete) (known bool) {
	d.mu.Lock()
	x := d.exchanges[k]
	if x == nil {
		d.mu.Unlock()
		return false
	}
	idle := d.forgetLocked(x, c)
	d.mu.Unlock()
	if idle {
		d.tell(x, c)
	}
	return true
}

// cancel ends a request that has no end. The context of a call under way for it ends too.
func (d *dispatcher) cancel(k key) { d.end(k, &Complete{Error: "canceled"}) }

// disconnect ends all requests that began on a connection. why says it in our own words.
func (d *dispatcher) disconnect(conn uint64, why string) {
	var over []key
	d.mu.Lock()
	for k, x := range d.exchanges {
		if x.request.conn == conn {
			over = append(over, k)
		}
	}
	d.mu.Unlock()
	for _, k := range over {
		d.end(k, &Complete{Error: why})
	}
}

// ask finds a request and calls do for it. A request that is unknown, or that is being asked about already,
// gets no verdict: the handler cannot judge it.
func (d *dispatcher) ask(ctx context.Context, k key, do func(context.Context, *exchange) *Verdict) *Verdict {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.mu.Lock()
	x := d.exchanges[k]
	if x == nil || x.cancel != nil {
		d.mu.Unlock()
		return &Verdict{}
	}
	x.cancel = cancel
	d.mu.Unlock()
	defer d.release(x)
	return do(ctx, x)
}

// body calls the handler for a chunk, or for the whole body with its last chunk.
func (d *dispatcher) body(x *exchange, b *body, c *Chunk, handle func(*Chunk) *Verdict) *Verdict {
	if d.chunks {
		return d.call(func() *Verdict { return handle(c) })
	}
	if b.over || int64(len(b.data))+int64(len(c.Data)) > d.maxBody {
		d.keep(x, -len(b.data))
		*b = body{over: !c.Last}
		return &Verdict{}
	}
	b.parts++
	if !c.Last {
		b.data = append(b.data, c.Data...)
		d.keep(x, len(c.Data))
		return &Verdict{Decision: Allowed, NeedsMore: true}
	}
	whole, parts := c.Data, b.parts
	if len(b.data) > 0 {
		whole = append(b.data, c.Data...)
	}
	d.keep(x, -len(b.data))
	*b = body{}
	size := int64(len(whole))
	v := d.call(func() *Verdict { return handle(&Chunk{Data: whole, Last: true, Total: size, Sent: size}) })
	if v.Replace != nil && parts > 1 {
		d.log.Warn("a body that came in parts cannot be replaced as a whole; set Chunks, or make the proxy buffer it")
		return &Verdict{}
	}
	return v
}

// head is call for events that have no body to replace.
func (d *dispatcher) head(handle func() *Verdict) *Verdict {
	v := d.call(handle)
	if v.Replace != nil {
		d.log.Warn("a verdict on headers cannot replace a body")
		return &Verdict{}
	}
	return v
}

// call returns the handler's verdict, or an undecided one in the place of none, of nonsense and of a panic.
func (d *dispatcher) call(handle func() *Verdict) (v *Verdict) {
	defer func() {
		if p := recover(); p != nil {
			d.logPanic(p)
			v = &Verdict{}
		}
	}()
	if v = handle(); v == nil || v.Decision > Challenged {
		return &Verdict{}
	}
	return v
}

// tell tells the handler that a request is over.
func (d *dispatcher) tell(x *exchange, c *Complete) {
	d.call(func() *Verdict {
		d.handler.Complete(context.Background(), x.request, c)
		return nil
	})
}

// begin adds a request, and ends those that it displaces.
func (d *dispatcher) begin(x *exchange) {
	var over []*exchange
	d.mu.Lock()
	if old := d.exchanges[x.key]; old != nil {
		over = d.displaceLocked(over, old, "replaced")
	}
	d.exchanges[x.key] = x
	x.place = d.order.PushBack(x)
	d.kept += x.kept
	over = d.trimLocked(over)
	d.mu.Unlock()
	d.tellAll(over)
}

// displaceLocked forgets a request, and adds it to those whose end the caller tells, if nobody else does.
func (d *dispatcher) displaceLocked(over []*exchange, x *exchange, why string) []*exchange {
	c := &Complete{Error: why}
	if !d.forgetLocked(x, c) {
		return over
	}
	x.end = c
	return append(over, x)
}

// trimLocked displaces the oldest requests as long as there is too much of all. The newest stays.
func (d *dispatcher) trimLocked(over []*exchange) []*exchange {
	for len(d.exchanges) > maxExchanges || d.kept > maxKept && len(d.exchanges) > 1 {
		over = d.displaceLocked(over, d.order.Front().Value.(*exchange), "evicted")
	}
	return over
}

func (d *dispatcher) tellAll(over []*exchange) {
	for _, x := range over {
		d.tell(x, x.end)
	}
}

// keep accounts for n more bytes that a request keeps.
func (d *dispatcher) keep(x *exchange, n int) {
	d.mu.Lock()
	if x.place != nil {
		x.kept += n
		d.kept += n
	}
	over := d.trimLocked(nil)
	d.mu.Unlock()
	d.tellAll(over)
}

// release ends a call under way. If the request ended during it, the handler is told now.
func (d *dispatcher) release(x *exchange) {
	d.mu.Lock()
	x.cancel = nil
	c := x.end
	d.mu.Unlock()
	if c != nil {
		d.tell(x, c)
	}
}

// forgetLocked drops a request and reports whether it is idle: then the caller tells the handler, else the
// call under way does.
func (d *dispatcher) forgetLocked(x *exchange, c *Complete) (idle bool) {
	delete(d.exchanges, x.key)
	d.order.Remove(x.place)
	x.place = nil
	d.kept -= x.kept
	if x.cancel == nil {
		return true
	}
	x.end = c
	x.cancel()
	return false
}

// logPanic logs a panic of the handler, once a second at most: whoever sends requests may cause them.
func (d *dispatcher) logPanic(p any) {
	d.mu.Lock()
	now := time.Now()
	due := d.panicked.IsZero() || now.Sub(d.panicked) >= time.Second
	if due {
		d.panicked = now
	}
	d.mu.Unlock()
	if due {
		d.log.Error("the handler panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

// size is about how many bytes a request keeps.
func (r *Request) size() int {
	const each = 64 // of a map entry, a slice and a string
	n := 512 + len(r.URI) + len(r.Method) + len(r.CorrelationID)
	for name, values := range r.Headers {
		n += each + len(name)
		for _, v := range values {
			n = min(n+each+len(v), math.MaxInt32)
		}
	}
	return n
}
