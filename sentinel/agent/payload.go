package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// payload is an event's JSON: the members of every event in every dialect. Members that it does not know are
// ignored, as the protocol wants; a known one of another type is an error, and so are names that occur twice.
type payload struct {
	RequestID     uint64   `json:"request_id"`
	CorrelationID string   `json:"correlation_id"`
	Metadata      metadata `json:"metadata"`
	Method        string   `json:"method"`
	URI           string   `json:"uri"`
	Headers       fields   `json:"headers"`
	HasBody       bool     `json:"has_body"`

	Status     uint16 `json:"status"`
	StatusCode uint16 `json:"status_code"`

	Data          []byte  `json:"data"`
	IsLast        bool    `json:"is_last"`
	TotalSize     *uint64 `json:"total_size"`
	ChunkIndex    uint32  `json:"chunk_index"`
	BytesReceived uint64  `json:"bytes_received"`
	BytesSent     uint64  `json:"bytes_sent"`

	DurationMS       uint64 `json:"duration_ms"`
	RequestBodySize  uint64 `json:"request_body_size"`
	ResponseBodySize uint64 `json:"response_body_size"`
	RequestSize      uint64 `json:"request_size"`
	ResponseSize     uint64 `json:"response_size"`
	UpstreamAttempts uint32 `json:"upstream_attempts"`
	Error            string `json:"error"`

	Config jsontext.Value `json:"config"`
}

type metadata struct {
	CorrelationID string `json:"correlation_id"`
	RequestID     string `json:"request_id"`
	ClientIP      string `json:"client_ip"`
	ClientPort    uint16 `json:"client_port"`
	ServerName    string `json:"server_name"`
	Protocol      string `json:"protocol"`
	TLSVersion    string `json:"tls_version"`
	TLSCipher     string `json:"tls_cipher"`
	RouteID       string `json:"route_id"`
	UpstreamID    string `json:"upstream_id"`
	Timestamp     string `json:"timestamp"`
	Traceparent   string `json:"traceparent"`
}

var (
	errNoID      = errors.New("an event without the id of its request")
	errNoMethod  = errors.New("request headers without a method")
	errNoStatus  = errors.New("response headers without a status")
	errNoData    = errors.New("a body chunk without data")
	errNoConfig  = errors.New("a configuration without a config")
	errNoVersion = errors.New("a handshake without a version")
)

// read reads an event's payload.
func (p *payload) read(text []byte) error {
	if err := jsonv2.Unmarshal(text, p); err != nil {
		return fmt.Errorf("an event: %w", err)
	}
	return nil
}

// fill makes p's members those of a call of its kind. The key is the dialect's business.
func (p *payload) fill(c *call) error {
	switch c.kind {
	case callRequestHeaders:
		return p.fillRequest(c)
	case callResponseHeaders:
		c.response = &Response{Status: int(max(p.Status, p.StatusCode)), Headers: Headers(p.Headers)}
		if c.response.Status < 100 || c.response.Status > 999 {
			return errNoStatus
		}
	case callRequestBody, callResponseBody:
		return p.fillChunk(c)
	case callComplete:
		c.complete = p.end()
	case callConfigure:
		c.config = json.RawMessage(p.Config)
		if c.config == nil {
			return errNoConfig
		}
	case callUnreadable, callCancel, callCancelAll, callPing, callHealth, callNothing:
	}
	return nil
}

func (p *payload) fillRequest(c *call) error {
	m := &p.Metadata
	if m.CorrelationID == "" {
		return errNoID
	}
	if p.Method == "" {
		return errNoMethod
	}
	at, err := time.Parse(time.RFC3339, m.Timestamp)
	if err != nil {
		at = time.Time{} // unknown
	}
	c.request = &Request{
		Metadata: Metadata{
			CorrelationID: m.CorrelationID, RequestID: m.RequestID, ClientIP: m.ClientIP, ClientPort: int(m.ClientPort),
			ServerName: m.ServerName, Protocol: m.Protocol, TLSVersion: m.TLSVersion, TLSCipher: m.TLSCipher,
			RouteID: m.RouteID, UpstreamID: m.UpstreamID, Timestamp: at, Traceparent: m.Traceparent,
		},
		Method: p.Method, URI: p.URI, Headers: Headers(p.Headers), HasBody: p.HasBody,
	}
	return nil
}

func (p *payload) fillChunk(c *call) error {
	if p.Data == nil {
		return errNoData // not an empty body, which a handler might allow
	}
	c.chunk = Chunk{
		Data: p.Data, Index: int(p.ChunkIndex), Last: p.IsLast, Total: -1,
		Sent: clamp(max(p.BytesReceived, p.BytesSent)),
	}
	if p.TotalSize != nil {
		c.chunk.Total = clamp(*p.TotalSize)
	}
	return nil
}

func (p *payload) end() *Complete {
	const longest = math.MaxInt64 / uint64(time.Millisecond)
	return &Complete{
		Status: int(p.Status), Duration: time.Duration(min(p.DurationMS, longest)) * time.Millisecond,
		RequestBody:  clamp(max(p.RequestBodySize, p.RequestSize)),
		ResponseBody: clamp(max(p.ResponseBodySize, p.ResponseSize)),
		Attempts:     int(p.UpstreamAttempts), Error: p.Error,
	}
}

// clamp makes a number of the proxy's one of ours.
func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// fields is Headers, read with few allocations: most names have one value.
type fields Headers

// UnmarshalJSONFrom reads an object of arrays of strings. Names come out in lower case, null as no fields.
func (f *fields) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	open, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch open.Kind() {
	case 'n':
		return nil
	case '{':
	default:
		return errors.New("headers are no object")
	}
	*f = make(fields, 8)
	values := make([]string, 0, 16)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		key := strings.ToLower(name.String())
		start := len(values)
		values = append(values, (*f)[key]...) // of the same name in another case
		if values, err = readValues(d, values); err != nil {
			return err
		}
		(*f)[key] = values[start:len(values):len(values)]
	}
	_, err = d.ReadToken()
	return err
}

// readValues appends an array of strings.
func readValues(d *jsontext.Decoder, values []string) ([]string, error) {
	open, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	if open.Kind() != '[' {
		return nil, errors.New("a header's values are no array")
	}
	for d.PeekKind() != ']' {
		value, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		if value.Kind() != '"' {
			return nil, errors.New("a header's value is no string")
		}
		values = append(values, value.String())
	}
	_, err = d.ReadToken()
	return values, err
}
