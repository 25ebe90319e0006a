package sentinel

import (
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// admit refuses what no route may see.
func (x *exchange) admit() Reason {
	switch {
	case isRefusedMethod(x.req.Method):
		return methodRefused
	case x.req.UnknownExpect:
		return expectationFailed
	}
	return none
}

// isRefusedMethod reports the methods that are never served: a reverse proxy is no tunnel, and TRACE shows
// a client's credentials to scripts (RFC 9110 9.3.6, 9.3.8).
func isRefusedMethod(method []byte) bool {
	return string(method) == "CONNECT" || string(method) == "TRACE"
}

// identify settles the trace id: the client's if it is harmless in logs, else a new one.
func (x *exchange) identify() {
	id := x.clientTrace()
	if x.chosen = telemetry.ValidID(id); x.chosen {
		x.trace = append(x.traceBuf[:0], id...)
		return
	}
	x.trace = x.p.ids.Load().Append(x.traceBuf[:0], x.started)
}

// routeLimits applies what the route says about the request's size and path.
func (x *exchange) routeLimits() Reason {
	if framing, length := x.req.Body(); framing == wire.ByLength && length > x.route.maxBody {
		return bodyTooLarge
	}
	if x.req.EscapedSlash {
		return x.settleSlashes()
	}
	return none
}

// settleSlashes applies the route's encoded-slash rule to a path with %2F or %5C. What policy decided on
// and what the upstream reads must be the same path.
func (x *exchange) settleSlashes() Reason {
	switch x.route.cfg.EncodedSlash {
	case "keep":
		if wire.HidesDotSegment(x.req.Path) {
			return encodedSlash
		}
		return none
	case "decode":
		decoded, fault := wire.DecodeSlashes(x.path, x.req.Path)
		if fault != wire.None || wire.HidesDotSegment(decoded) {
			return encodedSlash
		}
		x.path = decoded
		x.req.SetPath(decoded)
		if x.snap.views[x.c.l.id].match(x) != x.route {
			return encodedSlash
		}
		return none
	}
	return encodedSlash
}
