package sentinel

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/coding"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

const (
	// maxEncoders bounds the memory of all encoders together, in bytes. An answer for which there is none left
	// goes out as it is.
	maxEncoders = 256 << 20
	// squeezeStep is how much of a body is encoded before what came of it is sent.
	squeezeStep = 64 << 10
)

// compression is a route's compress filter.
type compression struct {
	order []coding.Coding
	level int
	least int64    // bytes
	types []string // media types in lower case
}

func bindCompression(c *config.Compress) *compression {
	r := &compression{level: c.Level, least: c.MinSize}
	for _, name := range c.Algorithms {
		if known, ok := coding.ByName(name); ok {
			r.order = append(r.order, known)
		}
	}
	for _, t := range c.ContentTypes {
		r.types = append(r.types, strings.ToLower(t))
	}
	return r
}

// squeezer stands between an exchange and its client, on routes with a compress filter: the one place where
// the body of an answer, whoever made it, is encoded. It looks at a head that is ready to leave.
type squeezer struct {
	downstream
	x     *exchange
	rules *compression    // nil: it stands nowhere
	enc   *coding.Encoder // nil: the answer goes out as it is, or its head has not left
	etag  []byte          // scratch
}

func (s *squeezer) enter(x *exchange) {
	s.x, s.rules, s.downstream = x, x.route.compress, x.down
	x.down = s
}

func (s *squeezer) leave() {
	s.release()
	s.x.down = s.downstream
	s.rules, s.downstream = nil, nil
}

func (s *squeezer) release() {
	if s.enc != nil {
		s.x.p.encoders.Put(s.enc)
		s.enc = nil
	}
}

// respond decides about the answer and sends its head.
func (s *squeezer) respond(piece []byte) Reason {
	s.release() // an answer that never began may have got one
	h := &s.x.reply
	if h.status == http.StatusNotModified {
		s.unmodified()
		return s.downstream.respond(piece)
	}
	c := s.decide()
	if c == coding.Identity {
		return s.downstream.respond(piece)
	}
	s.label(c)
	h.length = -1
	if s.enc == nil { // the head of what a GET would get
		return s.downstream.respond(piece)
	}
	h.framing = wire.ByChunks
	return s.begin(piece)
}

// begin sends the head with what comes of the first piece.
func (s *squeezer) begin(piece []byte) Reason {
	h := &s.x.reply
	if h.whole && len(piece) <= squeezeStep {
		return s.downstream.respond(s.enc.Finish(piece))
	}
	whole := h.whole
	h.whole = false
	first := min(len(piece), squeezeStep)
	r := s.downstream.respond(s.enc.Encode(piece[:first]))
	h.whole = whole
	if r == none {
		r = s.send(piece[first:])
	}
	if r == none && whole {
		r = s.end(nil)
	}
	return r
}

func (s *squeezer) send(piece []byte) Reason {
	if s.enc == nil {
		return s.downstream.send(piece)
	}
	for len(piece) > 0 {
		n := min(len(piece), squeezeStep)
		if r := s.pass(s.enc.Encode(piece[:n])); r != none {
			return r
		}
		piece = piece[n:]
	}
	return none
}

// pass sends what is encoded, if anything is.
func (s *squeezer) pass(encoded []byte) Reason {
	if len(encoded) == 0 {
		return none
	}
	return s.downstream.send(encoded)
}

func (s *squeezer) end(trailers []wire.Field) Reason {
	if s.enc == nil {
		return s.downstream.end(trailers)
	}
	if r := s.pass(s.enc.Finish(nil)); r != none {
		return r
	}
	return s.downstream.end(withoutDigests(trailers))
}

// flushIdle sends what is encoded of an answer before its upstream is waited for: a slow stream is not held
// back, a fast one is not cut into small pieces.
func (x *exchange) flushIdle(u *upstream.Conn) Reason {
	s := &x.squeeze
	if s.enc == nil || !s.enc.Holds() || u.Readable() {
		return none
	}
	return s.pass(s.enc.Flush())
}

// decide returns the coding for the answer, and gets an encoder for it unless there will be no body.
func (s *squeezer) decide() coding.Coding {
	x, h := s.x, &s.x.reply
	if !s.suits() {
		return coding.Identity
	}
	x.fields = x.vary(h.fields, "Accept-Encoding")
	h.fields = x.fields
	if h.status == http.StatusPartialContent || forbidsTransform(x.req.Fields) {
		return coding.Identity
	}
	var accept coding.Accept
	for i := range x.req.Fields {
		if x.req.Fields[i].ID == wire.AcceptEncoding {
			accept.Add(x.req.Fields[i].Value)
		}
	}
	c := accept.Choose(s.rules.order)
	switch {
	case h.length == 0, h.length > 0 && h.length < s.rules.least && !accept.RefusesIdentity():
		return coding.Identity
	case c == coding.Identity, string(x.req.Method) == http.MethodHead:
		return c
	}
	if s.enc = x.p.encoders.Get(c, s.rules.level); s.enc == nil {
		x.p.metrics.CompressBypassed.Inc()
		return coding.Identity
	}
	x.p.metrics.Compressed(c.String())
	return c
}

// suits reports whether the answer is one that the filter encodes for clients that want that, or a part of one, which
// has the Vary of the whole (RFC 9110 15.3.7).
func (s *squeezer) suits() bool {
	h := &s.x.reply
	part := h.status == http.StatusPartialContent
	if h.status < 200 || h.status == http.StatusNoContent || h.status == http.StatusResetContent || forbidsTransform(h.fields) {
		return false
	}
	listed := 0
	for i := range h.fields {
		f := &h.fields[i]
		switch {
		case f.ID == wire.ContentEncoding, !part && wire.EqualName(f.Name, "content-range"):
			return false
		case f.ID != wire.ContentType:
		case !s.rules.lists(f.Value) && (!part || !isRanges(f.Value)):
			return false
		default:
			listed++
		}
	}
	return listed == 1
}

// isRanges reports the Content-Type of an answer in several parts, which does not say what they are parts of.
func isRanges(contentType []byte) bool {
	const media = "multipart/byteranges"
	return len(contentType) >= len(media) && wire.EqualName(contentType[:len(media)], media)
}

// lists reports whether bodies of a Content-Type are encoded. Events are not, whatever the list says: each has
// to arrive at once, and clients read them as they come.
func (r *compression) lists(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	media = bytes.TrimRight(media, " \t")
	for _, t := range r.types {
		if wire.EqualName(media, t) {
			return t != "text/event-stream"
		}
	}
	return false
}

// forbidsTransform reports a Cache-Control field with no-transform, which binds every intermediary (RFC 9111
// 5.2.1.6, 5.2.2.6).
func forbidsTransform(fields []wire.Field) bool {
	for i := range fields {
		if !wire.EqualName(fields[i].Name, "cache-control") {
			continue
		}
		for item, rest := wire.NextItem(fields[i].Value); item != nil; item, rest = wire.NextItem(rest) {
			if wire.EqualName(item, "no-transform") {
				return true
			}
		}
	}
	return false
}

// label makes the answer's fields say what becomes of its body.
func (s *squeezer) label(c coding.Coding) {
	f := s.weaken(ofOtherBytes(s.x.fields))
	s.x.fields = append(f, wire.Field{ID: wire.ContentEncoding, Name: nameContentEncoding, Value: contentCodings[c]})
	s.x.reply.fields = s.x.fields
}

// ofOtherBytes drops what the upstream says of its bytes that does not hold for their encoding: digests, and that
// it serves ranges of them.
func ofOtherBytes(f []wire.Field) []wire.Field {
	return without(withoutDigests(f), []byte("Accept-Ranges"))
}

var contentCodings = map[coding.Coding][]byte{
	coding.Gzip: []byte("gzip"), coding.Brotli: []byte("br"), coding.Zstd: []byte("zstd"),
}

// withoutDigests drops the fields that are about the very bytes of the body (RFC 9530; Content-MD5 and Digest
// are its forerunners).
func withoutDigests(f []wire.Field) []wire.Field {
	for _, name := range [...]string{"Content-MD5", "Digest", "Content-Digest", "Repr-Digest"} {
		f = without(f, []byte(name))
	}
	return f
}

// weaken makes a strong entity tag weak: other bytes have it, too (RFC 9110 8.8.1). What is no tag is dropped.
func (s *squeezer) weaken(f []wire.Field) []wire.Field {
	for i := range f {
		if !wire.EqualName(f[i].Name, "etag") || bytes.HasPrefix(f[i].Value, []byte("W/")) {
			continue
		}
		if len(f[i].Value) < 2 || f[i].Value[0] != '"' {
			return s.weaken(append(f[:i], f[i+1:]...))
		}
		s.etag = append(append(s.etag[:0], "W/"...), f[i].Value...)
		f[i].Value = s.etag
		return f // a second one would be a fault of its own
	}
	return f
}

// unmodified makes a 304 say what the answer would say that the client has (RFC 9110 15.4.5): the tag that it
// sent is the weak one, and a cache that took over the length or a digest would have those of other bytes. Whether that
// answer was encoded cannot be known here; what is left is true of both.
func (s *squeezer) unmodified() {
	x := s.x
	if forbidsTransform(x.reply.fields) {
		return
	}
	x.fields = x.vary(x.reply.fields, "Accept-Encoding")
	if !forbidsTransform(x.req.Fields) {
		x.fields = s.weaken(ofOtherBytes(x.fields))
		x.reply.length = -1
	}
	x.reply.fields = x.fields
}
