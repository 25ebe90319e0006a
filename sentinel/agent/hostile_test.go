package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestCloses is what a proxy sends that ends its connection without a word.
func TestCloses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		only    Dialect
		greeted Dialect // the handshake before; empty: none
		send    string  // raw
	}{
		{"v2 handshake to v1", V1, "", string(frame(docsOnly))},
		{"v1 envelope to v2d", V2D, "", string(frame(`{"version":1}`))},
		{"v1 envelope to v2r", V2R, "", string(frame(`{"version":1}`))},
		{"ping first", "", "", string(frame("\xf0{}"))},
		{"length 0 first", "", "", "\x00\x00\x00\x00"},
		{"giant first", "", "", "\xff\xff\xff\xff"},
		{"handshake that is no json", "", "", string(frame("\x01{nope"))},
		{"handshake without versions", "", "", string(frame("\x01{}"))},
		{"documented handshake to v2r", V2R, "", string(frame(docsOnly))},
		{"v1 garbage", "", V1, string(frame(`{nope`))},
		{"v1 no object", "", V1, string(frame(`{"event_type":"configure","payload":[]}`))},
		{"v1 length 0", "", V1, "\x00\x00\x00\x00"},
		{"v1 over 10 MiB", "", V1, "\x00\xa0\x00\x01"},
		{"v1 headers without an id", "", V1, string(frame(`{"event_type":"request_headers","payload":{"method":"GET","metadata":{}}}`))},
		{"v1 headers without a method", "", V1, string(frame(`{"event_type":"request_headers","payload":{"metadata":{"correlation_id":"a"}}}`))},
		{"v1 numeric timestamp", "", V1, string(frame(`{"event_type":"request_headers","payload":{"method":"GET","metadata":{"correlation_id":"a","timestamp":1}}}`))},
		{"v1 header that is no array", "", V1, string(frame(`{"event_type":"request_headers","payload":{"method":"GET","metadata":{"correlation_id":"a"},"headers":{"a":"b"}}}`))},
		{"v1 name twice", "", V1, string(frame(`{"event_type":"request_headers","payload":{"method":"GET","method":"PUT","metadata":{"correlation_id":"a"}}}`))},
		{"v1 not UTF-8", "", V1, string(frame(`{"event_type":"request_headers","payload":{"method":"` + "\xff" + `","metadata":{"correlation_id":"a"}}}`))},
		{"v1 chunk without data", "", V1, string(frame(`{"event_type":"request_body_chunk","payload":{"correlation_id":"a","is_last":true}}`))},
		{"v1 chunk without an id", "", V1, string(frame(`{"event_type":"request_body_chunk","payload":{"data":"","is_last":true}}`))},
		{"v1 bad base64", "", V1, string(frame(`{"event_type":"request_body_chunk","payload":{"correlation_id":"a","data":"*","is_last":true}}`))},
		{"v1 status 0", "", V1, string(frame(`{"event_type":"response_headers","payload":{"correlation_id":"a","status":0}}`))},
		{"v1 configure without a config", "", V1, string(frame(`{"event_type":"configure","payload":{"agent_id":"a"}}`))},
		{"v1 deep", "", V1, string(frame(`{"payload":` + strings.Repeat("[", 1<<20)))},
		{"v2r garbage", "", V2R, string(frame("\x10{nope"))},
		{"v2r unknown type", "", V2R, string(frame("\xe0{}"))},
		{"v2r without an id", "", V2R, string(frame("\x12" + `{"status":200,"headers":{}}`))},
		{"v2r ping that is no json", "", V2R, string(frame("\x41{"))},
		{"v2d length 0", "", V2D, "\x00\x00\x00\x00"},
		{"v2d over 16 MiB", "", V2D, "\x01\x00\x00\x01"},
		{"v2d ping without end", "", V2D, string(frame("\xf0" + `"` + strings.Repeat("a", maxEcho) + `"`))},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, &Server{Handler: Base{}, Dialect: c.only}).greeted(c.greeted)
			if c.greeted == V1 {
				p.ask(`{"event_type":"unknown"}`)
			}
			_, _ = p.Write([]byte(c.send)) // the agent may close before all of it is sent
			p.closed()
		})
	}
}

// TestUnreadableV2D is what gets the number 0 and no verdict, and leaves the connection open.
func TestUnreadableV2D(t *testing.T) {
	t.Parallel()
	const meta = `"method":"GET","metadata":{"correlation_id":"a"}`
	for name, send := range map[string]string{
		"garbage":              "\x10{nope",
		"empty":                "\x10",
		"id 0":                 "\x10" + `{"request_id":0,` + meta + `}`,
		"negative id":          "\x10" + `{"request_id":-1,` + meta + `}`,
		"id as text":           "\x10" + `{"request_id":"1",` + meta + `}`,
		"no id":                "\x10" + `{` + meta + `}`,
		"header as text":       "\x10" + `{"request_id":1,"headers":{"a":"b"},` + meta + `}`,
		"header of numbers":    "\x10" + `{"request_id":1,"headers":{"a":[1]},` + meta + `}`,
		"bad base64":           "\x11" + `{"request_id":1,"data":"*","is_last":true}`,
		"no data":              "\x11" + `{"request_id":1,"is_last":true}`,
		"port out of range":    "\x10" + `{"request_id":1,"method":"GET","metadata":{"correlation_id":"a","client_port":65536}}`,
		"handshake once more":  docsOnly,
		"configure of another": "\x17{}",
		"unknown type":         "\x99",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, &Server{Handler: Base{}}).greeted(V2D)
			same(t, p.ask(send), "\x20"+`{"request_id":0,"decision":null}`)
			if got := p.ask("\xe0{}"); !strings.HasPrefix(got, "\xe1"+`{"state":"healthy","timestamp":"2`) {
				t.Errorf("health: %q", got)
			}
		})
	}
}

// TestAnnouncedCostsNothing announces as much as is allowed and sends little of it.
func TestAnnouncedCostsNothing(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	f := frames{conn: ours}
	go func() {
		_, _ = theirs.Write([]byte{0x01, 0, 0, 0})
		_, _ = theirs.Write(make([]byte, 100))
		_ = theirs.Close()
	}()
	if _, err := f.next(maxFrame2); !errors.Is(err, io.EOF) {
		t.Errorf("error %v", err)
	}
	if len(f.buffer) > smallBuffer {
		t.Errorf("%d bytes for 100", len(f.buffer))
	}
}

// TestFramesInPieces reads frames of all sizes that come in pieces of all sizes.
func TestFramesInPieces(t *testing.T) {
	t.Parallel()
	for _, piece := range []int{1, 3, 4, 5, 1000, smallBuffer, 1 << 20} {
		var stream []byte
		sizes := []int{1, 2, 100, smallBuffer - prefix, smallBuffer, smallBuffer + 1, 3 * smallBuffer, 7}
		for i, n := range sizes {
			stream = append(stream, frame(strings.Repeat(string(rune('a'+i)), n))...)
		}
		ours, theirs := net.Pipe()
		go func() {
			for rest := stream; len(rest) > 0; {
				n := min(piece, len(rest))
				_, _ = theirs.Write(rest[:n])
				rest = rest[n:]
			}
			_ = theirs.Close()
		}()
		f := frames{conn: ours}
		for i, n := range sizes {
			got, err := f.next(maxFrame1)
			if err != nil || len(got) != n || bytes.Count(got, []byte{byte('a' + i)}) != n {
				t.Fatalf("pieces of %d, frame %d: %d bytes, error %v", piece, i, len(got), err)
			}
		}
		if _, err := f.next(maxFrame1); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
	}
}

// rawConn is a connection that has something to read, then ends.
type rawConn struct {
	net.Conn
	io.Reader
}

func (c rawConn) Read(p []byte) (int, error)      { return c.Reader.Read(p) }
func (c rawConn) SetReadDeadline(time.Time) error { return nil }

func FuzzFrame(f *testing.F) {
	f.Add(frame("hello"))
	f.Add([]byte{0, 0, 0, 2, 1, 2, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := frames{conn: rawConn{Reader: bytes.NewReader(data)}}
		for at := 0; ; {
			got, err := in.next(1 << 10)
			if err != nil {
				return
			}
			n := int(binary.BigEndian.Uint32(data[at:]))
			if want := data[at+prefix : at+prefix+n]; !bytes.Equal(got, want) {
				t.Fatalf("got %q, want %q", got, want)
			}
			at += prefix + n
		}
	})
}

// fuzzDialect shows a dialect arbitrary frames: a call is complete, or it is none.
func fuzzDialect(f *testing.F, d dialect, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) == 0 {
			return
		}
		var c call
		if d.decode(frame, &c) != nil {
			return
		}
		named := c.key.id != "" || c.key.number != 0
		switch c.kind {
		case callRequestHeaders:
			if !named || c.request == nil || c.request.Method == "" || c.request.CorrelationID == "" {
				t.Fatalf("half a call: %+v", c)
			}
		case callResponseHeaders:
			if !named || c.response == nil {
				t.Fatalf("half a call: %+v", c)
			}
		case callRequestBody, callResponseBody:
			if !named || c.chunk.Data == nil {
				t.Fatalf("half a call: %+v", c)
			}
		case callComplete, callCancel:
			if !named {
				t.Fatalf("half a call: %+v", c)
			}
		default: // nothing that could be missing
		}
		if reply := d.encode(nil, &c, &Verdict{}); c.kind == callUnreadable && !bytes.Contains(reply, []byte(`"decision":null`)) {
			t.Fatalf("a verdict on what was not read: %q", reply)
		}
	})
}

func FuzzV1(f *testing.F) {
	fuzzDialect(f, v1{}, headersEvent(V1, 1, "GET", "/"), `{"event_type":"configure","payload":{"config":{}}}`)
}

func FuzzV2D(f *testing.F) {
	fuzzDialect(f, v2d{}, headersEvent(V2D, 1, "GET", "/"), "\x11"+`{"request_id":1,"data":"YQ=="}`, "\x30"+`{"request_id":1}`)
}

func FuzzV2R(f *testing.F) {
	fuzzDialect(f, v2r{}, headersEvent(V2R, 1, "GET", "/"), "\x14"+`{"correlation_id":"a","status":200}`)
}

func FuzzHandshake(f *testing.F) {
	f.Add([]byte(union[1:]))
	f.Add([]byte(docsOnly[1:]))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &Server{Handler: Base{}}
		d, reply, err := (&conn{server: s, ctx: t.Context()}).shake("", text)
		if (err == nil) != (d != nil && !bytes.Contains(reply, []byte(`":false,"error":"`)) && !bytes.Contains(reply, []byte(`"accepted":false`))) {
			t.Fatalf("dialect %v, reply %q, error %v", d, reply, err)
		}
	})
}
