package agent

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// bodyEvent is a body's chunk in a dialect, for the request of headersEvent with the same n.
func bodyEvent(d Dialect, kind string, n, index int, data string, last bool) string {
	text := fmt.Sprintf(`{"request_id":%d,"correlation_id":"c%d","data":%q,"is_last":%v,"total_size":null,"chunk_index":%d}`,
		n, n, base64.StdEncoding.EncodeToString([]byte(data)), last, index)
	if d == V1 {
		return `{"version":1,"event_type":"` + kind + `","payload":` + text + `}`
	}
	return map[string]string{"request_body_chunk": "\x11", "response_body_chunk": "\x13"}[kind] + text
}

func responseEvent(d Dialect, n int) string {
	text := fmt.Sprintf(`{"request_id":%d,"correlation_id":"c%d","status":200,"status_code":200,"headers":{}}`, n, n)
	if d == V1 {
		return `{"version":1,"event_type":"response_headers","payload":` + text + `}`
	}
	return "\x12" + text
}

// newTest returns a dispatcher, and a request with the id "a" that it knows.
func newTest(s *Server) (*dispatcher, key) {
	s.Log = slog.New(slog.DiscardHandler)
	d, k := newDispatcher(s), key{id: "a"}
	d.requestHeaders(context.Background(), k, &Request{Metadata: Metadata{CorrelationID: "a"}})
	return d, k
}

func TestBodies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		server *Server
		chunks []string // the last is the last
		want   []string // the verdicts: more, allow, null
		seen   []string // by the handler
	}{
		{"one chunk", &Server{}, []string{"abc"}, []string{"allow"}, []string{"abc true"}},
		{"empty", &Server{}, []string{""}, []string{"allow"}, []string{" true"}},
		{"three", &Server{}, []string{"a", "b", "c"}, []string{"more", "more", "allow"}, []string{"abc true"}},
		{"at the limit", &Server{MaxBody: 3}, []string{"ab", "c"}, []string{"more", "allow"}, []string{"abc true"}},
		{"over the limit", &Server{MaxBody: 3}, []string{"ab", "cd", ""}, []string{"more", "null", "null"}, nil},
		{"over the limit at once", &Server{MaxBody: 3}, []string{"abcd"}, []string{"null"}, nil},
		{"as they come", &Server{Chunks: true, MaxBody: 1}, []string{"ab", "c"}, []string{"allow", "allow"}, []string{"ab false", "c true"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var seen []string
			see := func(c *Chunk) *Verdict {
				seen = append(seen, fmt.Sprintf("%s %v", c.Data, c.Last))
				return Allow()
			}
			c.server.Handler = &script{
				requestBody:  func(_ *Request, c *Chunk) *Verdict { return see(c) },
				responseBody: func(_ *Request, _ *Response, c *Chunk) *Verdict { return see(c) },
			}
			d, k := newTest(c.server)
			d.responseHeaders(t.Context(), k, &Response{Status: 200})
			for _, ask := range []func(context.Context, key, *Chunk) *Verdict{d.requestBody, d.responseBody} {
				var got []string
				seen = nil
				for i, data := range c.chunks {
					v := ask(t.Context(), k, &Chunk{Data: []byte(data), Index: i, Last: i == len(c.chunks)-1})
					got = append(got, word(v))
				}
				if !slices.Equal(got, c.want) || !slices.Equal(seen, c.seen) {
					t.Errorf("verdicts %q, want %q; the handler saw %q, want %q", got, c.want, seen, c.seen)
				}
			}
			d.complete(k, &Complete{})
			if d.kept != 0 || d.order.Len() != 0 || len(d.exchanges) != 0 {
				t.Errorf("%d bytes of %d requests are kept", d.kept, len(d.exchanges))
			}
		})
	}
}

func word(v *Verdict) string {
	switch {
	case v.Decision == Allowed && v.NeedsMore:
		return "more"
	case v.Decision == Undecided:
		return "null"
	}
	return v.Decision.String()
}

// TestNoVerdict is every way to have none.
func TestNoVerdict(t *testing.T) {
	t.Parallel()
	panics := &script{
		requestHeaders:  func(context.Context, *Request) *Verdict { panic("one") },
		requestBody:     func(*Request, *Chunk) *Verdict { panic("two") },
		responseHeaders: func(*Request, *Response) *Verdict { panic("three") },
		responseBody:    func(*Request, *Response, *Chunk) *Verdict { panic("four") },
		configure:       func(json.RawMessage) error { panic("five") },
	}
	ctx := t.Context()
	d, k := newTest(&Server{Handler: panics})
	whole := &Chunk{Last: true}
	for name, v := range map[string]*Verdict{
		"panic in headers":          d.requestHeaders(ctx, k, &Request{}),
		"panic in a body":           d.requestBody(ctx, k, whole),
		"panic in response headers": d.responseHeaders(ctx, k, &Response{Status: 200}),
		"panic in a response body":  d.responseBody(ctx, k, whole),
		"body of nothing":           d.requestBody(ctx, key{id: "b"}, whole),
		"response of nothing":       d.responseHeaders(ctx, key{id: "b"}, &Response{}),
		"number for an id":          d.requestBody(ctx, key{number: 1}, whole),
		"another connection's":      d.requestBody(ctx, key{conn: 1, id: "a"}, whole),
	} {
		if v.Decision != Undecided {
			t.Errorf("%s: %v", name, v.Decision)
		}
	}
	if err := d.configure(ctx, json.RawMessage(`{}`)); !errors.Is(err, errPanic) {
		t.Errorf("panic in Configure: %v", err)
	}
	d, k = newTest(&Server{Handler: Base{}})
	if v := d.responseBody(ctx, k, whole); v.Decision != Undecided {
		t.Errorf("a response's body before its head: %v", v.Decision)
	}
	d, k = newTest(&Server{Handler: &script{requestBody: func(*Request, *Chunk) *Verdict { return Allow().ReplaceBody(nil) }}})
	d.requestBody(ctx, k, &Chunk{Data: []byte("a")})
	if v := d.requestBody(ctx, k, whole); v.Decision != Undecided {
		t.Errorf("a whole body replaced by its last part: %v", v.Decision)
	}
}

// TestEndsOnce is every way for a request to end, and that the handler hears of it once.
func TestEndsOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(*dispatcher, key)
		want string
	}{
		{"complete", func(d *dispatcher, k key) { d.complete(k, &Complete{Status: 200}) }, "a 200"},
		{"cancel", (*dispatcher).cancel, "a 0 canceled"},
		{"replaced", func(d *dispatcher, k key) { d.requestHeaders(context.Background(), k, &Request{}) }, "a 0 replaced"},
		{"disconnected", func(d *dispatcher, _ key) { d.disconnect(0, "disconnected") }, "a 0 disconnected"},
	} {
		for _, during := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, during a call %v", c.name, during), func(t *testing.T) {
				t.Parallel()
				var d *dispatcher
				var k key
				h := &script{}
				h.requestBody = func(*Request, *Chunk) *Verdict {
					c.end(d, k)
					if got := h.endings(); len(got) > 0 {
						t.Errorf("told during the call: %q", got)
					}
					return Allow()
				}
				d, k = newTest(&Server{Handler: h})
				if during {
					d.requestBody(t.Context(), k, &Chunk{Last: true})
				} else {
					c.end(d, k)
				}
				if got := h.endings(); !slices.Equal(got, []string{c.want}) {
					t.Errorf("ended %q, want %q", got, c.want)
				}
			})
		}
	}
}

// TestEndOfUnasked tells of the end of a request that the agent was not asked about.
func TestEndOfUnasked(t *testing.T) {
	h := &script{}
	d, _ := newTest(&Server{Handler: h})
	d.complete(key{id: "b"}, &Complete{Status: 404})
	if got := h.endings(); !slices.Equal(got, []string{"b 404"}) {
		t.Errorf("ended %q", got)
	}
}

func TestOldestIsForgotten(t *testing.T) {
	t.Parallel()
	h := &script{}
	d := newDispatcher(&Server{Handler: h})
	big := Headers{"a": {strings.Repeat("x", maxKept/4)}}
	for i := range 5 {
		id := fmt.Sprint(i)
		d.requestHeaders(t.Context(), key{id: id}, &Request{Metadata: Metadata{CorrelationID: id}, Headers: big})
	}
	if got := h.endings(); !slices.Equal(got, []string{"0 0 evicted", "1 0 evicted"}) || d.kept > maxKept {
		t.Errorf("%q; %d bytes kept", got, d.kept)
	}
	for i := range maxExchanges + 2 {
		d.requestHeaders(t.Context(), key{number: uint64(i + 1)}, &Request{})
	}
	if len(d.exchanges) != maxExchanges || d.order.Len() != maxExchanges {
		t.Errorf("%d requests kept", len(d.exchanges))
	}
	if v := d.requestBody(t.Context(), key{number: 1}, &Chunk{Last: true}); v.Decision != Undecided {
		t.Errorf("a verdict on a forgotten request: %v", v.Decision)
	}
}

// TestOldestIsForgottenForABody has a body grow, without a request that begins.
func TestOldestIsForgottenForABody(t *testing.T) {
	t.Parallel()
	h := &script{}
	d := newDispatcher(&Server{Handler: h})
	const part = maxKept / 256
	big := Headers{"a": slices.Repeat([]string{strings.Repeat("x", part)}, 255)}
	d.requestHeaders(t.Context(), key{id: "old"}, &Request{Metadata: Metadata{CorrelationID: "old"}, Headers: big})
	d.requestHeaders(t.Context(), key{id: "young"}, &Request{})
	if got := word(d.requestBody(t.Context(), key{id: "young"}, &Chunk{Data: make([]byte, part)})); got != "more" {
		t.Errorf("%s for the young", got)
	}
	if got := h.endings(); !slices.Equal(got, []string{"old 0 evicted"}) || d.kept > maxKept {
		t.Errorf("%q; %d bytes kept", got, d.kept)
	}
}

// TestConfiguredOnce brings the same configuration again, as each connection does.
func TestConfiguredOnce(t *testing.T) {
	t.Parallel()
	var got []string
	refuse := errors.New("no")
	d := newDispatcher(&Server{Handler: &script{configure: func(c json.RawMessage) error {
		got = append(got, string(c))
		if string(c) == `3` {
			return refuse
		}
		return nil
	}}})
	for _, c := range []string{`1`, `1`, ``, `null`, `2`, `1`, `3`, `3`} {
		if err := d.configure(t.Context(), json.RawMessage(c)); (c == `3`) != errors.Is(err, refuse) {
			t.Errorf("%s: %v", c, err)
		}
	}
	if want := []string{`1`, `2`, `1`, `3`, `3`}; !slices.Equal(got, want) {
		t.Errorf("configured %q, want %q", got, want)
	}
}

func TestBaseAllows(t *testing.T) {
	t.Parallel()
	var b Base
	ctx := t.Context()
	for i, v := range []*Verdict{
		b.RequestHeaders(ctx, nil), b.RequestBody(ctx, nil, nil), b.ResponseHeaders(ctx, nil, nil), b.ResponseBody(ctx, nil, nil, nil),
	} {
		if v.Decision != Allowed || v.NeedsMore || v.Replace != nil || len(v.RequestOps)+len(v.ResponseOps) > 0 {
			t.Errorf("event %d: %+v", i, v)
		}
	}
	if err := b.Configure(ctx, json.RawMessage(`{}`)); err != nil {
		t.Error(err)
	}
	b.Complete(ctx, nil, nil)
}
