package sentinel

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// maxNoted bounds each value from outside but a body, in bytes.
const maxNoted = 1024

// logRules is a route's log filter.
type logRules struct {
	id                string
	request, response bool
	body              int      // bytes of each body to write down
	fields            []string // names in lower case
	level             slog.Level
}

func bindLog(f *config.Filter) *logRules {
	c := f.Log
	levels := map[string]slog.Level{"trace": slog.LevelDebug, "debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}
	r := &logRules{id: f.ID, request: c.Request, response: c.Response, level: levels[c.Level]}
	if c.Body {
		r.body = int(c.MaxBodySize)
	}
	for _, name := range c.Fields {
		r.fields = append(r.fields, strings.ToLower(name))
	}
	return r
}

// witness stands between an exchange and its client, on routes with a log filter, and keeps what that is to
// write down. It sees answers before they are encoded.
type witness struct {
	downstream
	x        *exchange
	rules    *logRules
	request  capture
	response capture
	fields   []slog.Attr // of the answer
}

// capture is the beginning of a body.
type capture struct {
	kept  []byte
	total int64
}

// take notes a piece that begins at an offset; what was seen before, when a body is sent again, is not new.
func (c *capture) take(piece []byte, offset int64, most int) {
	if skip := c.total - offset; skip > 0 {
		piece = piece[min(skip, int64(len(piece))):]
	}
	c.total += int64(len(piece))
	c.kept = append(c.kept, piece[:min(len(piece), most-len(c.kept))]...)
}

// testify begins to look on, unless the log would not take the level.
func (x *exchange) testify() {
	rules := x.route.witness
	if !x.p.log.Enabled(context.Background(), rules.level) {
		return
	}
	x.seen = &witness{downstream: x.down, x: x, rules: rules}
	x.down = x.seen
	if rules.request && rules.body == 0 {
		x.seen.noteRequest()
	}
}

func (w *witness) nextBody() (data []byte, r Reason) {
	before := w.x.received
	data, r = w.downstream.nextBody()
	w.takeRequest(data, before)
	return data, r
}

func (w *witness) takeRequest(data []byte, offset int64) {
	if w.rules.body > 0 {
		w.request.take(data, offset, w.rules.body)
	}
}

func (w *witness) respond(piece []byte) Reason {
	w.fields = w.chosen(w.x.reply.fields)
	w.takeResponse(piece)
	return w.downstream.respond(piece)
}

func (w *witness) send(piece []byte) Reason {
	w.takeResponse(piece)
	return w.downstream.send(piece)
}

func (w *witness) takeResponse(piece []byte) {
	if w.rules.body > 0 && string(w.x.req.Method) != "HEAD" {
		w.response.take(piece, w.response.total, w.rules.body)
	}
}

// close writes down what is left to be: the exchange is over.
func (w *witness) close() {
	if w.rules.request && w.rules.body > 0 {
		w.noteRequest()
	}
	if w.rules.response {
		w.noteResponse()
	}
}

func (w *witness) noteRequest() {
	x := w.x
	path := x.req.RawTarget
	if i := len(path) - len(x.req.Query) - 1; x.req.HasQuery && i >= 0 {
		path = path[:i] // queries carry tokens
	}
	attrs := append(w.about(), slog.String("method", printable(x.req.Method)), slog.String("host", printable(x.req.Host)),
		slog.String("path", printable(redactPairs(path[:min(len(path), maxNoted)]))), slog.String("client", x.clientAddr().Unmap().String()))
	attrs = append(attrs, w.chosen(x.req.Fields)...)
	x.p.notes.add("request", w.rules.level, w.request.attrs(attrs))
}

func (w *witness) noteResponse() {
	x := w.x
	attrs := append(w.about(), slog.Int("status", x.status), slog.Int64("body_bytes_sent", x.delivered),
		slog.Float64("duration_ms", float64(time.Since(x.started).Microseconds())/1000))
	if x.reason != none {
		attrs = append(attrs, slog.String("error", x.reason.String()))
	}
	attrs = append(attrs, w.fields...)
	x.p.notes.add("response", w.rules.level, w.response.attrs(attrs))
}

// about returns what every entry begins with.
func (w *witness) about() []slog.Attr {
	return []slog.Attr{slog.String("filter", w.rules.id), slog.String("route", w.x.route.id), slog.String("trace_id", string(w.x.trace))}
}

// chosen returns the values of the fields that the filter names, those of one name as one list.
func (w *witness) chosen(fields []wire.Field) (list []slog.Attr) {
	for _, name := range w.rules.fields {
		var values []byte
		found := false
		for i := range fields {
			if !wire.EqualName(fields[i].Name, name) {
				continue
			}
			if found {
				values = append(values, ", "...)
			}
			found = true
			values = append(values, redactPairs(fields[i].Value[:min(len(fields[i].Value), maxNoted)])...)
		}
		switch {
		case !found:
		case isSecret(name):
			list = append(list, slog.String("header."+name, redacted))
		default:
			list = append(list, slog.String("header."+name, printable(values)))
		}
	}
	return list
}

// attrs appends a body, if any was seen.
func (c *capture) attrs(list []slog.Attr) []slog.Attr {
	if c.total == 0 {
		return list
	}
	list = append(list, slog.String("body", escape(c.kept)))
	if c.total > int64(len(c.kept)) {
		list = append(list, slog.Int64("body_cut_from_bytes", c.total))
	}
	return list
}

// printable is a value from outside as the log may have it.
func printable(b []byte) string { return escape(b[:min(len(b), maxNoted)]) }

// escape writes every byte that is not printable ASCII, and the backslash, as an escape of Go.
func escape(b []byte) string {
	quoted := strconv.AppendQuoteToASCII(nil, string(b))
	return strings.ReplaceAll(string(quoted[1:len(quoted)-1]), `\"`, `"`)
}
