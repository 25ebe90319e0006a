package agents

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// benchRequest is a request as a browser sends it.
func benchRequest() *Request {
	r := request("bench")
	r.Fields = []wire.Field{
		field("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
		field("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
		field("Accept-Language", "en-US,en;q=0.5"), field("Accept-Encoding", "gzip, deflate, br"),
		field("Cookie", "session=0123456789abcdef0123456789abcdef"), field("Sec-Fetch-Dest", "document"),
	}
	return r
}

// quick answers without parsing: of the figures below, as much as possible is ours. In V2D the id stands
// between the first colon and comma.
func quick(p *peer) {
	if !p.greet() {
		return
	}
	out := make([]byte, 0, 256)
	in := make([]byte, 64<<10)
	for {
		if err := frameInto(p.r, &in); err != nil {
			return
		}
		switch {
		case p.dialect == V1:
			out = append(out[:0], 0, 0, 0, 0, '{')
		case in[0] != typeRequestHeaders:
			continue
		case p.dialect == V2D:
			out = append(out[:0], 0, 0, 0, 0, typeVerdict)
			for _, c := range in[1:] {
				if out = append(out, c); c == ',' {
					break
				}
			}
		default:
			out = append(append(out[:0], 0, 0, 0, 0, typeVerdict), `{"audit":{"custom":{"correlation_id":"bench"}},`...)
		}
		out = append(out, `"decision":"allow","request_headers":[{"set":{"name":"X-Agent","value":"true"}}]}`...)
		out[3] = byte(len(out) - lengthSize)
		if _, err := p.Write(out); err != nil {
			return
		}
	}
}

func frameInto(r *bufio.Reader, buf *[]byte) error {
	st := stream{reader: r, max: maxV2, frame: *buf}
	frame, f := st.next()
	if f != nil {
		return f
	}
	*buf = frame
	return nil
}

// BenchmarkAsk is one question at a time, the agent in the same process.
func BenchmarkAsk(b *testing.B) {
	for _, d := range unixDialects {
		b.Run(d.String(), func(b *testing.B) {
			a := benchAgent(b, d)
			e := &Event{Kind: RequestHeaders, Request: benchRequest()}
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				var s Session
				s.Begin(a, []byte("bench"))
				if _, err := s.Ask(ctx, e); err != nil {
					b.Fatal(err)
				}
				s.over()
			}
		})
	}
}

// BenchmarkAskParallel is many questions at a time.
func BenchmarkAskParallel(b *testing.B) {
	for _, d := range []Dialect{V1, V2D} {
		b.Run(d.String(), func(b *testing.B) {
			a := benchAgent(b, d)
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				e := &Event{Kind: RequestHeaders, Request: benchRequest()}
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				for pb.Next() {
					var s Session
					s.Begin(a, []byte("bench"))
					if _, err := s.Ask(ctx, e); err != nil {
						b.Error(err)
						return
					}
					s.over()
				}
			})
		})
	}
}

func benchAgent(b *testing.B, d Dialect) *Agent {
	b.Helper()
	f := newFake(b, d, quick)
	o := options(f.path)
	o.Protocol = min(int(d), 2)
	a := begin(b, o)
	if _, err := one(b, a, "warm", patience); err != nil && d != V2R {
		b.Fatal(err)
	}
	return a
}

// BenchmarkRoundTrip is what the same bytes cost without us: a bare write and read each way.
func BenchmarkRoundTrip(b *testing.B) {
	f := newFake(b, V1, quick)
	c, err := net.Dial("unix", f.path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	p := &peer{Conn: c, dialect: V1}
	frame := p.encode(0, string(appendV1(nil, []byte("bench"), &Event{Kind: RequestHeaders, Request: benchRequest()})))
	r := bufio.NewReader(c)
	in := make([]byte, 4<<10)
	for b.Loop() {
		if _, err := c.Write(frame); err != nil {
			b.Fatal(err)
		}
		if err := frameInto(r, &in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e := &Event{Kind: RequestHeaders, Request: benchRequest()}
	s := &Session{id: []byte("bench"), number: 1 << 51}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = appendV2(out[:0], s, e)
	}
}

func BenchmarkDecode(b *testing.B) {
	payload := []byte(`{"request_id":1,"decision":"allow","request_headers":[{"set":{"name":"X-Agent","value":"true"}}]}`)
	b.ReportAllocs()
	for b.Loop() {
		r, _, f := replyOf(payload, V2D)
		if f != nil || r.answer(RequestHeaders, len(payload), &Options{}).failure != nil {
			b.Fatal(f)
		}
	}
}
