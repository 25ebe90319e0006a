package agents

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	agentv1 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v1"
	agentv2 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v2"
)

// echo is a handler whose verdict is what its function says, for every event.
type echo struct {
	agent.Base
	head     func(*agent.Request) *agent.Verdict
	body     func(*agent.Chunk) *agent.Verdict
	complete chan *agent.Complete
}

func (e *echo) RequestHeaders(_ context.Context, r *agent.Request) *agent.Verdict { return e.head(r) }

func (e *echo) RequestBody(_ context.Context, _ *agent.Request, c *agent.Chunk) *agent.Verdict {
	return e.body(c)
}

func (e *echo) ResponseBody(_ context.Context, _ *agent.Request, _ *agent.Response, c *agent.Chunk) *agent.Verdict {
	return e.body(c)
}

func (e *echo) Complete(_ context.Context, _ *agent.Request, c *agent.Complete) { e.complete <- c }

var versions = map[string]int{"G1": 1, "G2": 2}

// TestGRPCVerdicts has every kind of verdict cross both versions, from the kit to the proxy.
func TestGRPCVerdicts(t *testing.T) {
	t.Parallel()
	sure := 0.5
	audited := agent.Block(451, "no").SetHeader("Retry-After", "60").WithRule("R1").WithTag("t").WithReason("why")
	audited.Audit.Confidence = &sure
	for name, want := range map[string]*agent.Verdict{
		"allow": agent.Allow(),
		"ops": agent.Allow().SetRequestHeader("a", "1").AddRequestHeader("b", "2").RemoveRequestHeader("c").
			SetResponseHeader("d", "4").AddResponseHeader("e", "5").RemoveResponseHeader("f"),
		"block":     audited,
		"redirect":  agent.Redirect(307, "https://example.test/login"),
		"challenge": agent.Challenge("captcha", map[string]string{"k": "v"}),
	} {
		for version, protocol := range versions {
			t.Run(name+" over "+version, func(t *testing.T) {
				t.Parallel()
				o := grpcOptions(serveKit(t, &echo{head: func(*agent.Request) *agent.Verdict { return want }, complete: make(chan *agent.Complete, 1)}, nil))
				o.Protocol = protocol
				got := mustAsk(t, dialed(t, o), "c1", headEvent())
				if !reflect.DeepEqual(normal(got), normal(want)) {
					t.Errorf("got\n%+v, want\n%+v", got, want)
				}
			})
		}
	}
}

// normal makes empty and nil collections the same.
func normal(v *agent.Verdict) agent.Verdict {
	n := *v
	for _, list := range []*[]string{&n.Audit.Tags, &n.Audit.RuleIDs, &n.Audit.ReasonCodes} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if len(n.Headers) == 0 {
		n.Headers = nil
	}
	return n
}

// TestGRPCRequest shows that a handler of the kit sees what the proxy was told of a request.
func TestGRPCRequest(t *testing.T) {
	t.Parallel()
	for version, protocol := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			seen := make(chan *agent.Request, 1)
			h := &echo{head: func(r *agent.Request) *agent.Verdict {
				seen <- r
				return agent.Allow()
			}, complete: make(chan *agent.Complete, 1)}
			o := grpcOptions(serveKit(t, h, nil))
			o.Protocol = protocol
			l := dialed(t, o)
			mustAsk(t, l, "c1", headEvent())
			got := received(t, seen)
			want := agent.Request{
				Metadata: agent.Metadata{
					CorrelationID: "c1", RequestID: "r1", ClientIP: "192.0.2.7", ClientPort: 40001, ServerName: "example.test",
					Protocol: "HTTP/1.1", TLSVersion: "1.3", RouteID: "api", UpstreamID: "backend", Traceparent: "00-1-2-01",
				},
				Method: "GET", URI: "/a\uFFFD?x=1",
				Headers: agent.Headers{"host": {"example.test"}, "x-a": {"1", "2"}, "x-b": {"\uFFFD"}},
			}
			if protocol == 1 {
				want.TLSCipher = "AES"
			}
			if at := got.Timestamp.UnixMilli(); at != 1735459200123 {
				t.Errorf("time %d", at)
			}
			plain := agent.Request{Metadata: got.Metadata, Method: got.Method, URI: got.URI, Headers: got.Headers, HasBody: got.HasBody}
			plain.Timestamp = time.Time{}
			if !reflect.DeepEqual(plain, want) {
				t.Errorf("got\n%+v, want\n%+v", plain, want)
			}
			l.tell(about("c1"), endEvent())
			c := received(t, h.complete)
			if c.Status != 200 || c.Duration != 12*time.Millisecond || c.RequestBody != 3 || c.ResponseBody != 5 {
				t.Errorf("complete %+v", c)
			}
		})
	}
}

// TestGRPCBodies has bodies cross, and what the first version may put in their place.
func TestGRPCBodies(t *testing.T) {
	t.Parallel()
	data := "\x00\xff raw"
	h := &echo{
		head: func(*agent.Request) *agent.Verdict { return agent.Allow() },
		body: func(c *agent.Chunk) *agent.Verdict {
			if string(c.Data) != data || !c.Last || c.Index != 1 || c.Total != int64(len(data)) {
				return agent.Block(400, "another body")
			}
			return agent.Allow().ReplaceBody(nil)
		},
		complete: make(chan *agent.Complete, 2),
	}
	address := serveKit(t, h, nil)
	t.Run("G1", func(t *testing.T) {
		o := grpcOptions(address)
		o.Protocol = 1
		l := dialed(t, o)
		mustAsk(t, l, "c1", headEvent())
		v := mustAsk(t, l, "c1", bodyEvent(RequestBody, data))
		if v.Decision != agent.Allowed || v.Replace == nil || len(*v.Replace) != 0 {
			t.Errorf("request body: %+v", v)
		}
		mustAsk(t, l, "c1", responseEvent())
		if v = mustAsk(t, l, "c1", bodyEvent(ResponseBody, data)); v.Replace == nil {
			t.Errorf("response body: %+v", v)
		}
	})
	t.Run("G2 cannot replace", func(t *testing.T) {
		l := dialed(t, grpcOptions(address))
		mustAsk(t, l, "c2", headEvent())
		_, _, err := l.ask(t.Context(), about("c2"), bodyEvent(RequestBody, data))
		mustFail(t, err, BadReply)
	})
}

// TestG1Base64 shows the knob for agents that take and give bodies as base64 text.
func TestG1Base64(t *testing.T) {
	t.Parallel()
	mutation := base64.StdEncoding.EncodeToString([]byte("new"))
	f := &fakeG1{answer: func(_ context.Context, m *agentv1.AgentRequest) (*agentv1.AgentResponse, error) {
		r := &agentv1.AgentResponse{Decision: &agentv1.AgentResponse_Allow{Allow: &agentv1.AllowDecision{}}}
		if string(m.GetRequestBodyChunk().GetData()) == base64.StdEncoding.EncodeToString([]byte("old")) {
			r.RequestBodyMutation = &agentv1.BodyMutation{Data: []byte(mutation)}
		}
		return r, nil
	}}
	o := grpcOptions(serveG1(t, grpcPrefixes[0], f))
	o.Base64Bodies, o.Protocol = true, 1
	l := dialed(t, o)
	if v := mustAsk(t, l, "c", bodyEvent(RequestBody, "old")); v.Replace == nil || string(*v.Replace) != "new" {
		t.Errorf("%+v", v)
	}
	mutation = "?"
	_, _, err := l.ask(t.Context(), about("c"), bodyEvent(RequestBody, "old"))
	mustFail(t, err, BadReply)
}

// TestGRPCDetection has the proxy find out what an agent serves, under both names of each service.
func TestGRPCDetection(t *testing.T) {
	t.Parallel()
	for _, prefix := range grpcPrefixes {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			second, first := serveG2(t, prefix, &fakeG2{}), serveG1(t, prefix, &fakeG1{})
			for _, c := range []struct {
				name, address string
				protocol      int
				want          Dialect
			}{
				{"second, found out", second, 0, G2},
				{"second, named", second, 2, G2},
				{"first, found out", first, 0, G1},
				{"first, named", first, 1, G1},
			} {
				o := grpcOptions(c.address)
				o.Protocol = c.protocol
				l := dialed(t, o)
				if got := l.greeting().Dialect; got != c.want {
					t.Errorf("%s: dialect %v, want %v", c.name, got, c.want)
				}
				for range 2 {
					if v := mustAsk(t, l, "c", headEvent()); v.Decision != agent.Allowed {
						t.Errorf("%s: %+v", c.name, v)
					}
				}
			}
		})
	}
}

func TestG2Greeting(t *testing.T) {
	t.Parallel()
	f := &fakeG2{config: `{"limit":3}`}
	o := grpcOptions(serveG2(t, grpcPrefixes[0], f))
	o.Config = []byte(f.config)
	var strays atomic.Int64
	o.stray = func() { strays.Add(1) }
	l := dialed(t, o)
	if got, want := l.greeting(), (Greeting{Dialect: G2, Name: "fake", Version: "1", MaxConcurrent: 7, Cancels: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	mustAsk(t, l, "c", headEvent())
	if err := l.ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
	l.tell(about("c"), endEvent())
	if m := received(t, f.seen); m.GetRequestComplete().GetCorrelationId() != "c" {
		t.Errorf("%v", m)
	}
	l.cancel(about("d"), TimedOut)
	if m := received(t, f.seen); m.GetCancel().GetCorrelationId() != "d" || m.GetCancel().GetReason() != 2 {
		t.Errorf("%v", m)
	}
	mustAsk(t, l, "e", headEvent()) // answers come in order
	if n := strays.Load(); n != 0 {
		t.Errorf("%d strays: the answers to configure and to the request's end are none", n)
	}
}

// TestG2Replies is what may come in the place of a verdict.
func TestG2Replies(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	for name, c := range map[string]struct {
		answer func(*fakeStream, string) error
		want   FailureKind
		dies   bool
	}{
		"no decision": {func(s *fakeStream, id string) error { s.send(replyG2(id)); return nil }, BadReply, false},
		"op of no kind": {func(s *fakeStream, id string) error {
			s.send(replyG2(id, allowG2, func(r *agentv2.AgentResponse) { r.RequestHeaders = []*agentv2.HeaderOp{{}} }))
			return nil
		}, BadReply, false},
		"too many ops": {func(s *fakeStream, id string) error {
			s.send(replyG2(id, allowG2, func(r *agentv2.AgentResponse) {
				for range maxOps + 1 {
					r.ResponseHeaders = append(r.ResponseHeaders, &agentv2.HeaderOp{Operation: &agentv2.HeaderOp_Remove{Remove: "a"}})
				}
			}))
			return nil
		}, BadReply, false},
		"redirect nowhere": {func(s *fakeStream, id string) error {
			s.send(replyG2(id, func(r *agentv2.AgentResponse) {
				r.Decision = &agentv2.AgentResponse_Redirect{Redirect: &agentv2.RedirectDecision{Url: "a\r\nb", Status: 302}}
			}))
			return nil
		}, BadReply, false},
		"unknown id":             {func(s *fakeStream, id string) error { s.send(replyG2("x"+id, allowG2)); return nil }, TimedOutCall, false},
		"empty id":               {func(s *fakeStream, _ string) error { s.send(replyG2("", allowG2)); return nil }, TimedOutCall, false},
		"silence":                {func(*fakeStream, string) error { return nil }, TimedOutCall, false},
		"end":                    {func(*fakeStream, string) error { return errEnd }, Unavailable, true},
		"status":                 {func(*fakeStream, string) error { return status.Error(codes.Unavailable, "x") }, Unavailable, true},
		"unimplemented mid-call": {func(*fakeStream, string) error { return status.Error(codes.Unimplemented, "x") }, Unavailable, true},
		"giant": {func(s *fakeStream, id string) error {
			s.send(replyG2(id, func(r *agentv2.AgentResponse) {
				body := strings.Repeat("x", grpcRecvMax)
				r.Decision = &agentv2.AgentResponse_Block{Block: &agentv2.BlockDecision{Body: &body}}
			}))
			return nil
		}, BadReply, true},
		"a second handshake": {func(s *fakeStream, _ string) error { s.send(greetingMessage(true, "")); return nil }, BadReply, true},
		"nothing at all":     {func(s *fakeStream, _ string) error { s.send(&agentv2.AgentToProxy{}); return nil }, BadReply, true},
		"over MaxReply": {func(s *fakeStream, id string) error {
			s.send(replyG2(id, allowG2, func(r *agentv2.AgentResponse) {
				r.Audit = &agentv2.AuditMetadata{Tags: []string{strings.Repeat("x", 5000)}, Confidence: &nan}
			}))
			return nil
		}, BadReply, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeG2{answer: func(s *fakeStream, m *agentv2.ProxyToAgent) error {
				if idOf(m) == "good" {
					s.send(replyG2("good", allowG2))
					return nil
				}
				return c.answer(s, idOf(m))
			}}
			o := grpcOptions(serveG2(t, grpcPrefixes[0], f))
			o.MaxReply = 4096
			l := dialed(t, o)
			limit := grpcPatience
			if c.want == TimedOutCall {
				limit = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			v, _, err := l.ask(ctx, about("c"), headEvent())
			mustFail(t, err, c.want)
			if v != nil {
				t.Errorf("a verdict: %+v", v)
			}
			if took := time.Since(began); c.want == TimedOutCall && took > limit+2*time.Second {
				t.Errorf("it took %v", took)
			}
			if c.dies {
				received(t, l.dead())
			} else {
				mustAsk(t, l, "good", headEvent())
			}
		})
	}
}

// TestG1Replies is the same for calls. Only a lost connection, or an agent without the service, ends the link.
func TestG1Replies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		response *agentv1.AgentResponse
		err      error
		want     FailureKind
	}{
		"no decision":     {&agentv1.AgentResponse{}, nil, BadReply},
		"status internal": {nil, status.Error(codes.Internal, "x"), BadReply},
		"status":          {nil, status.Error(codes.PermissionDenied, "x"), Unavailable},
		"its deadline":    {nil, status.Error(codes.DeadlineExceeded, "x"), TimedOutCall},
		"silence":         {nil, nil, TimedOutCall},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeG1{answer: func(ctx context.Context, m *agentv1.AgentRequest) (*agentv1.AgentResponse, error) {
				if m.GetRequestHeaders().GetMetadata().GetCorrelationId() == "good" {
					return &agentv1.AgentResponse{Decision: &agentv1.AgentResponse_Allow{Allow: &agentv1.AllowDecision{}}}, nil
				}
				if c.response == nil && c.err == nil {
					<-ctx.Done()
				}
				return c.response, c.err
			}}
			o := grpcOptions(serveG1(t, grpcPrefixes[0], f))
			o.Protocol = 1
			l := dialed(t, o)
			ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
			defer cancel()
			if name == "silence" {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
			}
			_, _, err := l.ask(ctx, about("c"), headEvent())
			mustFail(t, err, c.want)
			mustAsk(t, l, "good", headEvent())
		})
	}
}

// TestGRPCDialFailures is what keeps a link from being made, or from lasting. Nothing of it hangs.
func TestGRPCDialFailures(t *testing.T) {
	t.Parallel()
	nobody := listen(t)
	_ = nobody.Close()
	hung := listen(t)
	t.Cleanup(func() { _ = hung.Close() })
	_, wrongRoots := certificateFor127(t)
	server, _ := certificateFor127(t)
	for name, c := range map[string]struct {
		address  string
		protocol int
		secure   *tls.Config
		want     FailureKind
		words    string
	}{
		"refused":           {nobody.Addr().String(), 0, nil, Unavailable, "connect"},
		"hung":              {hung.Addr().String(), 0, nil, TimedOutCall, "HTTP/2"},
		"no HTTP/2":         {scripted(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), 0, nil, Unavailable, ""},
		"refused handshake": {serveG2(t, grpcPrefixes[0], &fakeG2{refuse: "no room"}), 0, nil, Unavailable, "no room"},
		"no such version":   {serveG1(t, grpcPrefixes[0], &fakeG1{}), 2, nil, Unavailable, errNoService.Error()},
		"no handshake":      {serveG2(t, grpcPrefixes[0], &fakeG2{greeting: replyG2("", allowG2)}), 0, nil, BadReply, "handshake"},
		"unknown authority": {serveKit(t, agent.Base{}, server), 0, wrongRoots, Unavailable, "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := grpcOptions(c.address)
			o.Protocol, o.TLS = c.protocol, c.secure
			if c.want == TimedOutCall {
				o.Timeout = 100 * time.Millisecond
			}
			l, err := dialGRPC(t.Context(), o)
			if err == nil {
				l.close()
			}
			mustFail(t, err, c.want)
			if !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want it to say %q", err, c.words)
			}
		})
	}
	t.Run("no service at all", func(t *testing.T) {
		t.Parallel()
		l := dialed(t, grpcOptions(serveG1(t, "other.", &fakeG1{})))
		_, _, err := l.ask(t.Context(), about("c"), headEvent())
		mustFail(t, err, Unavailable)
		received(t, l.dead())
	})
}

// scripted says words to whoever connects, and closes.
func scripted(t testing.TB, words string) (address string) {
	l := listen(t)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, words)
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// TestGRPCCancel shows that a caller that leaves is let go at once, and nobody else is hurt.
func TestGRPCCancel(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 2)
	second := serveG2(t, grpcPrefixes[0], &fakeG2{answer: func(s *fakeStream, m *agentv2.ProxyToAgent) error {
		if idOf(m) == "slow" {
			asked <- struct{}{}
			return nil
		}
		s.send(replyG2(idOf(m), allowG2))
		return nil
	}})
	first := serveG1(t, grpcPrefixes[0], &fakeG1{answer: func(ctx context.Context, m *agentv1.AgentRequest) (*agentv1.AgentResponse, error) {
		if m.GetRequestHeaders().GetMetadata().GetCorrelationId() == "slow" {
			asked <- struct{}{}
			<-ctx.Done()
		}
		return &agentv1.AgentResponse{Decision: &agentv1.AgentResponse_Allow{Allow: &agentv1.AllowDecision{}}}, nil
	}})
	for name, address := range map[string]string{"G2": second, "G1": first} {
		t.Run(name, func(t *testing.T) {
			l := dialed(t, grpcOptions(address))
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-asked
				cancel()
			}()
			_, sent, err := l.ask(ctx, about("slow"), headEvent())
			mustFail(t, err, Canceled)
			if !sent {
				t.Error("not sent, it says")
			}
			mustAsk(t, l, "next", headEvent())
		})
	}
}

// TestGRPCTooLarge refuses what agents would not take, without a byte sent.
func TestGRPCTooLarge(t *testing.T) {
	t.Parallel()
	address := serveKit(t, agent.Base{}, nil)
	for version, protocol := range versions {
		o := grpcOptions(address)
		o.Protocol = protocol
		l := dialed(t, o)
		_, sent, err := l.ask(t.Context(), about("c"), bodyEvent(RequestBody, strings.Repeat("x", 4<<20)))
		if !errors.Is(err, errTooLarge) || sent {
			t.Errorf("%s: %v, sent %v", version, err, sent)
		}
		mustAsk(t, l, "c", headEvent())
		mustAsk(t, l, "c", bodyEvent(RequestBody, strings.Repeat("x", 4<<20-200)))
	}
}

// TestG2Unasked is what an agent may say by itself.
func TestG2Unasked(t *testing.T) {
	t.Parallel()
	pause := func(action agentv2.FlowAction, id *string) *agentv2.AgentToProxy {
		return &agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_FlowControl{FlowControl: &agentv2.FlowControlSignal{
			CorrelationId: id, Action: int32(action),
		}}}
	}
	f := &fakeG2{answer: func(s *fakeStream, m *agentv2.ProxyToAgent) error {
		id := idOf(m)
		switch id {
		case "pause":
			s.send(pause(agentv2.FlowAction_FLOW_ACTION_PAUSE, &id))
			s.send(pause(agentv2.FlowAction_FLOW_ACTION_PAUSE, nil))
		case "log":
			for range 3 * grpcLogBurst {
				s.send(&agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_Log{Log: &agentv2.LogMessage{
					Level: 3, Message: strings.Repeat("w", 10_000),
				}}})
			}
		case "others":
			s.send(&agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_Metrics{}})
			s.send(&agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_ConfigUpdate{}})
			s.send(&agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_Health{Health: &agentv2.HealthStatus{State: 3}}})
			s.send(replyG2("nobody", allowG2))
		}
		s.send(replyG2(id, allowG2))
		s.send(replyG2(id, func(r *agentv2.AgentResponse) { // once more, and different
			r.Decision = &agentv2.AgentResponse_Block{Block: &agentv2.BlockDecision{Status: 403}}
		}))
		if id == "pause" {
			_, _ = s.Recv() // the cancellation below
			s.send(pause(agentv2.FlowAction_FLOW_ACTION_RESUME, nil))
		}
		return nil
	}}
	o := grpcOptions(serveG2(t, grpcPrefixes[0], f))
	var strays, messages, warnings atomic.Int64
	o.stray = func() { strays.Add(1) }
	o.Notify = func(n Notice) {
		if n.Kind == Message {
			messages.Add(1)
		} else {
			warnings.Add(1)
		}
		if len(n.Detail) > maxWords {
			t.Errorf("%d bytes of words", len(n.Detail))
		}
	}
	l := dialed(t, o)
	for _, id := range []string{"others", "log", "last"} {
		if v := mustAsk(t, l, id, headEvent()); v.Decision != agent.Allowed {
			t.Errorf("%s: %+v", id, v)
		}
	}
	if err := l.ping(t.Context()); err != nil { // it comes after everything else
		t.Fatal(err)
	}
	if s, m, w := strays.Load(), messages.Load(), warnings.Load(); s != 4 || m > 2*grpcLogBurst || m == 0 || w != 2 {
		t.Errorf("%d strays, %d messages, %d warnings", s, m, w)
	}
	mustAsk(t, l, "pause", headEvent())
	_, _, err := l.ask(t.Context(), about("c"), headEvent())
	mustFail(t, err, Busy)
	l.cancel(about("c"), ClientDisconnect)
	for deadline := time.Now().Add(grpcPatience); l.(*g2).paused.Load(); {
		if time.Now().After(deadline) {
			t.Fatal("still paused")
		}
		_ = l.ping(t.Context())
	}
	mustAsk(t, l, "d", headEvent())
}

// TestG2Reorder has an agent answer in the reverse order: verdicts stay with their requests.
func TestG2Reorder(t *testing.T) {
	t.Parallel()
	const n = 20
	var held []string
	f := &fakeG2{answer: func(s *fakeStream, m *agentv2.ProxyToAgent) error {
		if held = append(held, idOf(m)); len(held) < n {
			return nil
		}
		for i := len(held) - 1; i >= 0; i-- {
			s.send(replyG2(held[i], allowG2, func(r *agentv2.AgentResponse) {
				r.Audit = &agentv2.AuditMetadata{Tags: []string{held[i]}}
			}))
		}
		return nil
	}}
	l := dialed(t, grpcOptions(serveG2(t, grpcPrefixes[0], f)))
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			id := strings.Repeat("i", i+1)
			v, _, err := l.ask(t.Context(), about(id), headEvent())
			if err != nil || v.Audit.Tags[0] != id {
				t.Errorf("%s: %+v, %v", id, v, err)
			}
		})
	}
	all.Wait()
}

// TestG2Stuck has an agent that reads nothing: callers leave at their deadlines, the line stays bounded, and
// closing does not wait.
func TestG2Stuck(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	defer close(hold)
	f := &fakeG2{answer: func(s *fakeStream, _ *agentv2.ProxyToAgent) error {
		select {
		case <-hold:
		case <-s.Context().Done():
		}
		return nil
	}}
	l := dialed(t, grpcOptions(serveG2(t, grpcPrefixes[0], f)))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, _, err := l.ask(ctx, about(strings.Repeat("i", i+1)), bodyEvent(RequestBody, strings.Repeat("x", 1<<20)))
			mustFail(t, err, TimedOutCall)
		})
	}
	all.Wait()
	for range 2 * grpcUnsent {
		l.cancel(about("c"), TimedOut)
	}
	if n := len(l.(*g2).unsent); n > grpcUnsent {
		t.Errorf("%d messages in line", n)
	}
	l.close()
	_, sent, err := l.ask(t.Context(), about("c"), headEvent())
	mustFail(t, err, Unavailable)
	if sent {
		t.Error("sent on a closed link")
	}
}

func TestGRPCOverTLS(t *testing.T) {
	t.Parallel()
	server, client := certificateFor127(t)
	address := serveKit(t, agent.Base{}, server)
	for version, protocol := range versions {
		o := grpcOptions(address)
		o.Protocol, o.TLS = protocol, client
		if v := mustAsk(t, dialed(t, o), "c", headEvent()); v.Decision != agent.Allowed {
			t.Errorf("%s: %+v", version, v)
		}
	}
	_, err := dialGRPC(t.Context(), grpcOptions(address)) // plain
	mustFail(t, err, Unavailable)
}

// TestGRPCDeath kills the connection mid-call.
func TestGRPCDeath(t *testing.T) {
	t.Parallel()
	for version, protocol := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			asked, hold := make(chan struct{}), make(chan struct{})
			h := &echo{head: func(*agent.Request) *agent.Verdict {
				close(asked)
				<-hold
				return agent.Allow()
			}, complete: make(chan *agent.Complete, 1)}
			near, cut := relayed(t, serveKit(t, h, nil))
			o := grpcOptions(near)
			o.Protocol = protocol
			l := dialed(t, o)
			go func() {
				<-asked
				cut()
			}()
			_, sent, err := l.ask(t.Context(), about("c"), headEvent())
			mustFail(t, err, Unavailable)
			if sent {
				t.Error("the only call of a link that is lost counts as not sent")
			}
			close(hold)
			received(t, l.dead())
		})
	}
}

// relayed returns an address that leads to another until it is cut.
func relayed(t testing.TB, far string) (near string, cut func()) {
	l := listen(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		open = append(open, c)
	}
	all.Go(func() {
		a, err := l.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", far)
		if err != nil {
			_ = a.Close()
			return
		}
		keep(a)
		keep(b)
		all.Go(func() { _, _ = io.Copy(a, b) })
		_, _ = io.Copy(b, a)
	})
	cut = func() {
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
	}
	t.Cleanup(func() {
		cut()
		all.Wait()
	})
	return l.Addr().String(), cut
}

func BenchmarkAskGRPC(b *testing.B) {
	for version, protocol := range versions {
		b.Run(version, func(b *testing.B) {
			o := grpcOptions(serveKit(b, agent.Base{}, nil))
			o.Protocol = protocol
			l := dialed(b, o)
			e := headEvent()
			b.ReportAllocs()
			var n atomic.Int64
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				id := "c" + string(rune('a'+n.Add(1)))
				for pb.Next() {
					s := about(id)
					if _, _, err := l.ask(b.Context(), s, e); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// TestGRPCAgent has an Agent use links of both versions, as the proxy does.
func TestGRPCAgent(t *testing.T) {
	t.Parallel()
	for version, protocol := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := &echo{head: func(*agent.Request) *agent.Verdict { return agent.Block(403, "no") }, complete: make(chan *agent.Complete, 1)}
			o := grpcOptions(serveKit(t, h, nil))
			o.Protocol, o.MaxCalls, o.Links, o.IdleTimeout = protocol, 10, 2, time.Minute
			a, err := New(*o)
			if err != nil {
				t.Fatal(err)
			}
			a.Start()
			ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
			defer cancel()
			var s Session
			s.Begin(a, []byte("c1"))
			v, err := s.Ask(ctx, headEvent())
			if err != nil || v.Decision != agent.Blocked {
				t.Errorf("%+v, %v", v, err)
			}
			s.End(endEvent())
			if c := received(t, h.complete); c.Status != 200 {
				t.Errorf("complete %+v", c)
			}
			if st := a.State(); st.Dialect.String() != strings.ToLower(version) {
				t.Errorf("%+v", st)
			}
			a.Close(time.Second)
		})
	}
}

// TestG1TellsAndCloses ends requests while their link is closed.
func TestG1TellsAndCloses(t *testing.T) {
	f := &fakeG1{}
	o := grpcOptions(serveG1(t, "sentinel.", f))
	o.Protocol = 1
	go func() {
		for {
			select {
			case <-f.told:
			case <-t.Context().Done():
				return
			}
		}
	}()
	for range 20 {
		l := dialed(t, o)
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				for range 20 {
					l.tell(about("x"), endEvent())
				}
			})
		}
		l.close()
		work.Wait()
		if n := len(l.(*g1).tells); n > 0 {
			t.Errorf("%d ends are still told", n)
		}
	}
}
