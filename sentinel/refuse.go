package sentinel

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// refuse answers the client for a Reason, or cuts the connection when an answer has begun or none is due.
// Nothing of the request is echoed.
func (x *exchange) refuse(r Reason) {
	x.reason = r
	info := &reasonTable[r]
	switch {
	case x.status != 0:
		x.down.cut()
		return
	case r == clientGone, info.Status == 0: // nobody is there to read an answer
		x.down.cut()
		x.status = reasonTable[clientGone].Status
		return
	}
	status, page := x.refusal(r)
	x.localReply(status)
	if page.contentType != "" {
		x.fields = append(x.fields, field(wire.ContentType, "Content-Type", page.contentType))
	}
	for _, h := range page.headers {
		x.fields = append(without(x.fields, []byte(h[0])), named(h[0], h[1]))
	}
	switch {
	case isRuling(r): // the agent said what it wants to say
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests, r == rateLimited:
		if page.sets("Retry-After") {
			break
		}
		x.fields = append(x.fields, field(wire.Other, "Retry-After", strconv.Itoa(x.retryAfter(r))))
	case status == http.StatusMethodNotAllowed:
		x.fields = append(x.fields, field(wire.Other, "Allow", allowed(r)))
	}
	if sent := x.sendLocal([]byte(page.body)); sent != none {
		x.down.cut()
	}
}

// refusal returns what the client gets for a Reason.
func (x *exchange) refusal(r Reason) (status int, p page) {
	if isRuling(r) {
		return x.counsel.rulingPage()
	}
	return x.statusOf(r), x.errorPage(r)
}

// statusOf is the status of a refusal of our own.
func (x *exchange) statusOf(r Reason) int {
	if r == rateLimited {
		return x.hit.status
	}
	return reasonTable[r].Status
}

// allowed is the Allow field of a 405 (RFC 9110 15.5.6).
func allowed(r Reason) string {
	if r == methodNotAllowed {
		return "GET, HEAD"
	}
	return "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"
}

// localReply begins an answer of our own.
func (x *exchange) localReply(status int) {
	var seen idSet
	x.fields = x.ownFields(x.fields[:0], &seen)
	x.fields = append(x.fields, wire.Field{ID: wire.XRequestID, Name: nameRequestID, Value: x.trace})
	x.reply = reply{status: status, whole: true}
}

// sendLocal sends an answer of our own with its body.
func (x *exchange) sendLocal(body []byte) Reason {
	x.discardBody()
	if x.route != nil {
		x.fields = x.route.editAnswer(x, x.fields)
	}
	if c := x.counsel; c != nil && c.decided == nil {
		x.fields = c.editedByAgents(x.fields, ofResponse)
	}
	x.reply.fields, x.reply.length = x.fields, int64(len(body))
	switch x.reply.status {
	case http.StatusNoContent, http.StatusNotModified:
		x.reply.length, body = -1, nil
	case http.StatusResetContent: // RFC 9110 15.3.6
		x.reply.length, body = 0, nil
	}
	if string(x.req.Method) == http.MethodHead {
		body = nil
	}
	return x.down.respond(body)
}

// discardBody drops a request body nobody will read if it is here; otherwise the connection ends.
func (x *exchange) discardBody() {
	if !x.body.Done() {
		_, n, fault := unframe(&x.body, x.in[x.r:x.w])
		x.r += n
		x.closing = x.closing || fault != wire.None || !x.body.Done()
	}
}

// page is an error body ready to send.
type page struct {
	contentType string
	body        string
	headers     [][2]string
}

// sets reports whether the configuration gives the page a field of that name.
func (p *page) sets(name string) bool {
	return slices.ContainsFunc(p.headers, func(h [2]string) bool { return strings.EqualFold(h[0], name) })
}

// errorFacts is what an error body may tell.
type errorFacts struct {
	status    int
	title     string
	message   string
	code      string
	requestID string
	unix      int64
	retry     int
}

// errorPage renders the body for a Reason in the format the route or the client wants.
func (x *exchange) errorPage(r Reason) page {
	status := x.statusOf(r)
	f := errorFacts{
		status: status, title: http.StatusText(status), message: messageFor(status),
		code: reasonTable[r].Code, requestID: string(x.trace), unix: x.started.Unix(),
	}
	if f.status == http.StatusServiceUnavailable || r == rateLimited {
		f.retry = x.retryAfter(r)
	}
	format := x.errorFormat()
	if x.route == nil {
		return f.render(format)
	}
	custom, ok := x.route.errorPages[f.status]
	if r == rateLimited {
		f.message = x.hit.message
		if !ok && x.route.errorFormat == "" && format == "html" { // it is not for people
			return page{contentType: "text/plain; charset=utf-8", body: f.message}
		}
	}
	if !ok {
		return f.render(format)
	}
	if custom.format != "" {
		format = custom.format
	}
	if custom.message != "" {
		f.message = custom.message
	}
	p := f.render(format)
	if custom.template != "" {
		p.body = f.fill(custom.template, format)
	}
	p.headers = custom.headers
	return p
}

// errorFormat chooses the format: what the route says, else JSON for programs and HTML for browsers.
func (x *exchange) errorFormat() string {
	switch {
	case x.route == nil || x.route.cfg == nil:
		if x.acceptsHTML() {
			return "html"
		}
		return "json"
	case x.route.errorFormat != "":
		return x.route.errorFormat
	case x.route.cfg.ServiceType == "web" || x.route.cfg.ServiceType == "static":
		return "html"
	}
	return "json"
}

var messages = map[int]string{
	400: "The request could not be understood.",
	401: "Authentication is required.",
	403: "Access to this resource is not allowed.",
	404: "The requested resource was not found.",
	405: "The method is not allowed for this resource.",
	408: "The request took too long to arrive.",
	413: "The request body is too large.",
	414: "The request target is too long.",
	417: "The expectation of the request cannot be met.",
	429: "Too many requests. Please try again later.",
	431: "The request header section is too large.",
	500: "An internal error occurred.",
	501: "The request needs a feature that is not implemented.",
	502: "The upstream server gave no valid answer.",
	503: "The service is temporarily unavailable. Please try again later.",
	504: "The upstream server did not answer in time.",
	505: "This HTTP version is not supported.",
}

func messageFor(status int) string {
	if m, ok := messages[status]; ok {
		return m
	}
	return fmt.Sprintf("An error occurred (HTTP %d)", status)
}

func (f *errorFacts) render(format string) page {
	switch format {
	case "html":
		return page{contentType: "text/html; charset=utf-8", body: f.fill(htmlPage, format)}
	case "text":
		return page{contentType: "text/plain; charset=utf-8", body: f.fill("{{status}} {{title}}\n{{message}}\nRequest id: {{request_id}}\n", format)}
	case "xml":
		return page{contentType: "application/xml; charset=utf-8", body: f.fill(xmlPage, format)}
	}
	return page{contentType: "application/json; charset=utf-8", body: f.json()}
}

const htmlPage = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{status}} {{title}}</title></head>
<body style="font-family:sans-serif;max-width:40em;margin:4em auto">
<h1>{{status}} {{title}}</h1><p>{{message}}</p><p><small>Request id: {{request_id}}</small></p>
</body></html>
`

const xmlPage = `<?xml version="1.0" encoding="UTF-8"?>
<error><status>{{status}}</status><title>{{title}}</title><message>{{message}}</message><request_id>{{request_id}}</request_id></error>
`

// fill replaces a template's placeholders, escaped for its format.
func (f *errorFacts) fill(template, format string) string {
	escape := func(s string) string { return s }
	switch format {
	case "html":
		escape = html.EscapeString
	case "xml":
		escape = escapeXML
	}
	return strings.NewReplacer(
		"{{status}}", strconv.Itoa(f.status), "{{title}}", escape(f.title), "{{message}}", escape(f.message),
		"{{request_id}}", escape(f.requestID), "{{timestamp}}", strconv.FormatInt(f.unix, 10),
	).Replace(template)
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}

// json is the one shape of JSON errors: the nested object for programs that look there, the flat members
// for those that look here.
func (f *errorFacts) json() string {
	type inner struct {
		Code          string `json:"code"`
		Message       string `json:"message"`
		CorrelationID string `json:"correlation_id"`
		RetryAfter    int    `json:"retry_after,omitempty"`
	}
	b, err := json.Marshal(struct {
		Error     inner  `json:"error"`
		Status    int    `json:"status"`
		Title     string `json:"title"`
		Message   string `json:"message"`
		RequestID string `json:"request_id"`
		Timestamp int64  `json:"timestamp"`
	}{inner{f.code, f.message, f.requestID, f.retry}, f.status, f.title, f.message, f.requestID, f.unix})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(b) + "\n"
}
