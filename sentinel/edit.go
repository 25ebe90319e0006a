package sentinel

import (
	"bytes"
	"strconv"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// idSet is a set of known fields.
type idSet [wire.NumIDs]bool

func setOf(ids ...wire.ID) (s idSet) {
	for _, id := range ids {
		s[id] = true
	}
	return s
}

var (
	// dropUp are request fields that are not forwarded: hop-by-hop ones (RFC 9110 7.6.1), those written
	// anew, and those with which an untrusted client could speak for somebody else.
	dropUp = setOf(
		wire.Connection, wire.KeepAlive, wire.ProxyConnection, wire.TE, wire.Trailer, wire.TransferEncoding,
		wire.Upgrade, wire.HTTP2Settings, wire.ProxyAuthorization, wire.ProxyAuthenticate, wire.Nominated,
		wire.Host, wire.ContentLength, wire.Expect,
		wire.Forwarded, wire.XForwarded, wire.XIdentity, wire.XOverride, wire.XInternal,
		wire.XTraceID, wire.XCorrelationID, wire.XRequestID, wire.Via,
	)
	// dropDown are response fields that are not relayed.
	dropDown = setOf(
		wire.Connection, wire.KeepAlive, wire.ProxyConnection, wire.TE, wire.Trailer, wire.TransferEncoding,
		wire.Upgrade, wire.HTTP2Settings, wire.ProxyAuthenticate, wire.ProxyAuthorization, wire.Nominated,
		wire.ContentLength, wire.Server, wire.XPoweredBy, wire.XCorrelationID,
	)
)

func field(id wire.ID, name, value string) wire.Field {
	return wire.Field{ID: id, Name: []byte(name), Value: []byte(value)}
}

var (
	forwardedBy   = field(wire.XForwarded, "X-Forwarded-By", "Sentinel")
	viaField      = field(wire.Via, "Via", "1.1 sentinel")
	securityNames = [...]wire.Field{
		field(wire.XContentTypeOptions, "X-Content-Type-Options", "nosniff"),
		field(wire.XFrameOptions, "X-Frame-Options", "DENY"),
		field(wire.XXSSProtection, "X-XSS-Protection", "0"),
		field(wire.ReferrerPolicy, "Referrer-Policy", "strict-origin-when-cross-origin"),
	}
	nameHost           = []byte("Host")
	nameDate           = []byte("Date")
	nameTraceID        = []byte("X-Trace-Id")
	nameCorrelationID  = []byte("X-Correlation-Id")
	nameRequestID      = []byte("X-Request-Id")
	nameForwardedFor   = []byte("X-Forwarded-For")
	nameForwardedProto = []byte("X-Forwarded-Proto")
	nameForwardedHost  = []byte("X-Forwarded-Host")
	nameMaxForwards    = []byte("Max-Forwards")

	nameContentEncoding = []byte("Content-Encoding")
)

// editRequest builds the fields the upstream gets: the client's without those of dropUp, our own, then
// the route's edits, then those of its agents.
func (x *exchange) editRequest() {
	f := append(x.fields[:0], wire.Field{ID: wire.Host, Name: nameHost, Value: x.req.Authority})
	var seen idSet
	for i := range x.req.Fields {
		id := x.req.Fields[i].ID
		seen[id] = true
		switch {
		case id == wire.MaxForwards && x.req.MaxForwards > 0: // RFC 9110 7.6.2
			left := strconv.AppendInt(nil, int64(x.req.MaxForwards-1), 10)
			f = append(f, wire.Field{ID: id, Name: nameMaxForwards, Value: left})
		case !dropUp[id] && !isDisguised(&x.req.Fields[i]):
			f = append(f, x.req.Fields[i])
		}
	}
	f = append(f,
		wire.Field{ID: wire.XCorrelationID, Name: nameCorrelationID, Value: x.trace},
		wire.Field{ID: wire.XTraceID, Name: nameTraceID, Value: x.trace},
		wire.Field{ID: wire.XForwarded, Name: nameForwardedFor, Value: x.c.clientIP},
		wire.Field{ID: wire.XForwarded, Name: nameForwardedProto, Value: x.c.scheme},
		wire.Field{ID: wire.XForwarded, Name: nameForwardedHost, Value: x.req.Authority},
		forwardedBy,
	)
	if seen[wire.Via] { // one list, ours last (RFC 9110 7.6.3)
		f = appendAll(f, x.req.Fields, wire.Via)
	}
	f = append(f, viaField)
	if seen[wire.XRequestID] {
		f = append(f, wire.Field{ID: wire.XRequestID, Name: nameRequestID, Value: x.trace})
	}
	x.fields = x.route.requestEdits.apply(f)
	if c := x.counsel; c != nil {
		x.fields = c.editedByAgents(x.fields, ofRequest)
		if c.body != nil && c.body.decoded {
			x.fields = without(x.fields, nameContentEncoding)
		}
		x.fields = c.askForAll(x.fields)
	}
}

// isDisguised reports a name that a CGI-like upstream would take for one that is not forwarded: it reads
// X_Forwarded_For and X-Forwarded-For as the same.
func isDisguised(f *wire.Field) bool {
	if f.ID != wire.Other || bytes.IndexByte(f.Name, '_') < 0 {
		return false
	}
	return dropUp[wire.Identify(bytes.ReplaceAll(f.Name, []byte("_"), []byte("-")))]
}

func appendAll(f, from []wire.Field, id wire.ID) []wire.Field {
	for i := range from {
		if from[i].ID == id {
			f = append(f, from[i])
		}
	}
	return f
}

// editResponse builds the fields the client gets from those of the upstream.
func (x *exchange) editResponse() {
	var seen idSet
	f := x.fields[:0]
	for i := range x.resp.Fields {
		id := x.resp.Fields[i].ID
		seen[id] = true
		if !dropDown[id] {
			f = append(f, x.resp.Fields[i])
		}
	}
	x.fields = x.ownFields(f, &seen)
	x.fields = x.route.editAnswer(x, x.fields)
}

// ownFields adds what every response carries unless it is there: Date (RFC 9110 6.6.1), the security
// fields and the correlation id.
func (x *exchange) ownFields(f []wire.Field, seen *idSet) []wire.Field {
	if !seen[wire.Date] {
		f = append(f, wire.Field{ID: wire.Date, Name: nameDate, Value: *x.p.sweeper.date.Load()})
	}
	for i := range securityNames {
		if !seen[securityNames[i].ID] {
			f = append(f, securityNames[i])
		}
	}
	if x.quota.limit != nil {
		f = x.quotaFields(f)
	}
	return append(f, wire.Field{ID: wire.XCorrelationID, Name: nameCorrelationID, Value: x.trace})
}

// edits are a route's header edits in the order they apply: rename, set, add, remove.
type edits []edit

type edit struct {
	kind  editKind
	field wire.Field // of set and add; Name alone for remove and rename
	to    wire.Field // rename's new name
}

type editKind uint8

const (
	rename editKind = iota
	set
	add
	remove
)

// compileEdits prepares the header blocks of a route, in order. The correlation id cannot be removed.
func compileEdits(blocks ...config.HeaderEdits) (list edits) {
	for _, b := range blocks {
		for _, pair := range b.Rename {
			list = append(list, edit{rename, named(pair[0], ""), named(pair[1], "")})
		}
		for _, pair := range b.Set {
			list = append(list, edit{kind: set, field: named(pair[0], pair[1])})
		}
		for _, pair := range b.Add {
			list = append(list, edit{kind: add, field: named(pair[0], pair[1])})
		}
		for _, name := range b.Remove {
			if f := named(name, ""); f.ID != wire.XCorrelationID {
				list = append(list, edit{kind: remove, field: f})
			}
		}
	}
	return list
}

func named(name, value string) wire.Field {
	return field(wire.Identify([]byte(name)), name, value)
}

func (e edits) apply(f []wire.Field) []wire.Field {
	for i := range e {
		switch edit := &e[i]; edit.kind {
		case rename:
			for j := range f {
				if bytes.EqualFold(f[j].Name, edit.field.Name) {
					f[j].Name, f[j].ID = edit.to.Name, edit.to.ID
				}
			}
		case set:
			f = append(without(f, edit.field.Name), edit.field)
		case add:
			f = append(f, edit.field)
		case remove:
			f = without(f, edit.field.Name)
		}
	}
	return f
}

func without(f []wire.Field, name []byte) []wire.Field {
	kept := f[:0]
	for i := range f {
		if !bytes.EqualFold(f[i].Name, name) {
			kept = append(kept, f[i])
		}
	}
	return kept
}
