package agents

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// Events as JSON. Agents of all dialects get the union of the keys that their kits read, each with the type
// that they all take: a kit that cannot read a value answers "allow" without asking its agent.

const (
	stampLayout    = "2006-01-02T15:04:05.000Z07:00"
	statusOfCancel = 499
	configureID    = "configure"
	clientName     = "sentinel"
)

// eventTypes are the words of dialect V1.
var eventTypes = [...]string{
	RequestHeaders: "request_headers", RequestBody: "request_body_chunk", ResponseHeaders: "response_headers",
	ResponseBody: "response_body_chunk", RequestComplete: "request_complete",
}

// sizeOf is about the bytes that an event takes.
func sizeOf(e *Event) int { return base64.StdEncoding.EncodedLen(len(e.Chunk.Data)) + 4<<10 }

// appendV1 appends an event in the envelope of dialect V1.
func appendV1(dst []byte, id []byte, e *Event) []byte {
	dst = append(dst, `{"version":1,"event_type":"`...)
	dst = append(dst, eventTypes[e.Kind]...)
	dst = append(dst, `","payload":{`...)
	dst = appendPayload(dst, id, e)
	return append(dst, "}}"...)
}

// appendV2 appends an event with the keys that both dialects of v2 need beside.
func appendV2(dst []byte, s *Session, e *Event) []byte {
	dst = append(dst, `{"request_id":`...)
	dst = strconv.AppendUint(dst, s.number, 10)
	switch e.Kind {
	case RequestHeaders:
		dst = appendID(append(dst, ','), s.id)
		dst = appendBool(dst, "has_body", e.Request.HasBody)
	case ResponseHeaders:
		dst = appendInt(dst, "status_code", int64(e.Status))
		dst = appendBool(dst, "has_body", e.HasBody)
	default: // nothing more
	}
	dst = append(dst, ',')
	return append(appendPayload(dst, s.id, e), '}')
}

// appendPayload appends the members of an event's object.
func appendPayload(dst []byte, id []byte, e *Event) []byte {
	switch e.Kind {
	case RequestHeaders:
		return appendHead(dst, id, e.Request)
	case ResponseHeaders:
		dst = appendInt(appendID(dst, id), "status", int64(e.Status))
		dst = append(dst, `,"headers":{`...)
		return append(appendFields(dst, e.Fields, ""), '}')
	case RequestBody:
		return appendChunk(dst, id, &e.Chunk)
	case ResponseBody:
		return appendInt(appendChunk(dst, id, &e.Chunk), "bytes_sent", e.Chunk.Sent)
	default:
		return appendComplete(dst, id, &e.Complete)
	}
}

func appendHead(dst []byte, id []byte, r *Request) []byte {
	dst = append(dst, `"metadata":{`...)
	dst = appendMetadata(dst, id, r)
	dst = appendString(append(dst, `},"method":`...), r.Method)
	dst = append(dst, `,"uri":`...)
	if r.HasQuery { // the closing quote of the path goes, and so does the opening one of the query
		dst = appendString(dst, r.Path)
		dst[len(dst)-1] = '?'
		mark := len(dst)
		dst = appendString(dst, r.Query)
		dst = append(dst[:mark], dst[mark+1:]...)
	} else {
		dst = appendString(dst, r.Path)
	}
	dst = append(dst, `,"headers":{"host":[`...)
	dst = appendString(dst, r.Host)
	dst = append(dst, ']')
	return append(appendFields(dst, r.Fields, "host"), '}')
}

func appendMetadata(dst []byte, id []byte, r *Request) []byte {
	dst = appendID(dst, id)
	dst = appendText(dst, "request_id", r.RequestID)
	dst = append(dst, `,"client_ip":"`...)
	dst = r.Client.Addr().Unmap().WithZone("").AppendTo(dst)
	dst = append(dst, '"')
	dst = appendInt(dst, "client_port", int64(r.Client.Port()))
	dst = appendOptional(dst, "server_name", r.ServerName)
	dst = appendText(dst, "protocol", r.Protocol)
	dst = appendOptional(dst, "tls_version", r.TLSVersion)
	dst = appendOptional(dst, "tls_cipher", r.TLSCipher)
	dst = appendOptional(dst, "route_id", r.Route)
	dst = appendOptional(dst, "upstream_id", r.Upstream)
	dst = append(dst, `,"timestamp":"`...)
	dst = r.Time.UTC().AppendFormat(dst, stampLayout)
	dst = append(dst, '"')
	if len(r.Traceparent) > 0 {
		dst = appendText(dst, "traceparent", r.Traceparent)
	}
	return dst
}

func appendChunk(dst []byte, id []byte, c *Chunk) []byte {
	dst = append(appendID(dst, id), `,"data":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, c.Data)
	dst = append(dst, '"')
	dst = appendBool(dst, "is_last", c.Last)
	if c.Total >= 0 {
		dst = appendInt(dst, "total_size", c.Total)
	} else {
		dst = append(dst, `,"total_size":null`...)
	}
	dst = appendInt(dst, "chunk_index", int64(c.Index))
	return appendInt(dst, "bytes_received", c.Sent)
}

func appendComplete(dst []byte, id []byte, c *Complete) []byte {
	dst = appendInt(appendID(dst, id), "status", int64(c.Status))
	dst = appendInt(dst, "duration_ms", c.Duration.Milliseconds())
	dst = appendInt(dst, "request_body_size", c.RequestBytes)
	dst = appendInt(dst, "response_body_size", c.ResponseBytes)
	dst = appendInt(dst, "upstream_attempts", int64(c.Attempts))
	dst = appendInt(dst, "request_size", c.RequestBytes)
	dst = appendInt(dst, "response_size", c.ResponseBytes)
	return appendOptional(dst, "error", c.Error)
}

// appendFields appends header fields by name as members, each with all values of its name in their order. The
// object has the member first already, unless it is empty, and gets no other of that name.
func appendFields(dst []byte, fields []wire.Field, first string) []byte {
	written := first != ""
	for i := range fields {
		name := fields[i].Name
		if seen(fields[:i], name) || written && wire.EqualName(name, first) {
			continue
		}
		if written {
			dst = append(dst, ',')
		}
		written = true
		dst = append(appendName(dst, name), ":["...)
		dst = appendString(dst, fields[i].Value)
		for j := i + 1; j < len(fields); j++ {
			if sameName(fields[j].Name, name) {
				dst = appendString(append(dst, ','), fields[j].Value)
			}
		}
		dst = append(dst, ']')
	}
	return dst
}

func seen(fields []wire.Field, name []byte) bool {
	for i := range fields {
		if sameName(fields[i].Name, name) {
			return true
		}
	}
	return false
}

func sameName(a, b []byte) bool { return len(a) == len(b) && bytes.EqualFold(a, b) }

// appendName appends a field name in lower case.
func appendName(dst, name []byte) []byte {
	mark := len(dst)
	dst = append(dst, '"')
	for _, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c <= ' ' || c == '"' || c == '\\' || c >= 0x7f: // no name at all
			return appendString(dst[:mark], bytes.ToLower(name))
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// text is what JSON strings are made of here.
type text interface{ ~string | ~[]byte }

// appendString appends a JSON string. Bytes that are no UTF-8 become U+FFFD, of which the error tells.
func appendString[T text](dst []byte, s T) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

func appendID[T text](dst []byte, id T) []byte {
	return appendString(append(dst, `"correlation_id":`...), id)
}

// The rest append a comma and a member.

func appendKey(dst []byte, key string) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, key...)
	return append(dst, `":`...)
}

func appendText[T text](dst []byte, key string, s T) []byte {
	return appendString(appendKey(dst, key), s)
}

// appendOptional appends null for what is unknown.
func appendOptional[T text](dst []byte, key string, s T) []byte {
	if len(s) == 0 {
		return append(appendKey(dst, key), "null"...)
	}
	return appendText(dst, key, s)
}

func appendInt(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(appendKey(dst, key), n, 10)
}

func appendBool(dst []byte, key string, b bool) []byte {
	return strconv.AppendBool(appendKey(dst, key), b)
}
