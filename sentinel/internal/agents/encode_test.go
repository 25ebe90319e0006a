package agents

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// The types that published kits read events into. Those of the Rust kit refuse what is missing; those of the
// Go kit take a wrong type for a reason to allow.

type kitMetadata struct {
	CorrelationID string  `json:"correlation_id"`
	RequestID     string  `json:"request_id"`
	ClientIP      string  `json:"client_ip"`
	ClientPort    uint16  `json:"client_port"`
	ServerName    *string `json:"server_name"`
	Protocol      string  `json:"protocol"`
	TLSVersion    *string `json:"tls_version"`
	TLSCipher     *string `json:"tls_cipher"`
	RouteID       *string `json:"route_id"`
	UpstreamID    *string `json:"upstream_id"`
	Timestamp     string  `json:"timestamp"`
	Traceparent   *string `json:"traceparent"`
}

type kitEvent struct {
	RequestID     *uint64             `json:"request_id"`
	CorrelationID string              `json:"correlation_id"`
	Metadata      *kitMetadata        `json:"metadata"`
	Method        string              `json:"method"`
	URI           string              `json:"uri"`
	Headers       map[string][]string `json:"headers"`
	HasBody       *bool               `json:"has_body"`
	Status        *uint16             `json:"status"`
	StatusCode    *uint16             `json:"status_code"`
	Data          *string             `json:"data"`
	IsLast        *bool               `json:"is_last"`
	TotalSize     *uint64             `json:"total_size"`
	ChunkIndex    *uint32             `json:"chunk_index"`
	BytesReceived *uint64             `json:"bytes_received"`
	BytesSent     *uint64             `json:"bytes_sent"`
	DurationMS    *uint64             `json:"duration_ms"`
	RequestBody   *uint64             `json:"request_body_size"`
	ResponseBody  *uint64             `json:"response_body_size"`
	Attempts      *uint32             `json:"upstream_attempts"`
	RequestSize   *uint64             `json:"request_size"`
	ResponseSize  *uint64             `json:"response_size"`
	Error         *string             `json:"error"`
}

func field(name, value string) wire.Field {
	return wire.Field{Name: []byte(name), Value: []byte(value)}
}

func ofV1(t *testing.T, e *Event) (kitEvent, string) {
	t.Helper()
	var envelope struct {
		Version int      `json:"version"`
		Event   string   `json:"event_type"`
		Payload kitEvent `json:"payload"`
	}
	text := appendV1(nil, []byte("cid"), e)
	if err := json.Unmarshal(text, &envelope); err != nil || envelope.Version != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	return envelope.Payload, envelope.Event
}

func ofV2(t *testing.T, e *Event) kitEvent {
	t.Helper()
	var got kitEvent
	text := appendV2(nil, &Session{id: []byte("cid"), number: 7}, e)
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return got
}

// TestEvents reads every event as the kits do.
func TestEvents(t *testing.T) {
	r := request("cid")
	r.TLSVersion, r.Traceparent, r.Route, r.HasBody = "1.3", []byte("00-a-b-01"), "", true
	r.Fields = []wire.Field{field("Accept", "a"), field("X-Two", "1"), field("accept", "b\xff\"\\\x01"), field("x-two", "2"), field("Host", "evil")}
	headers := map[string][]string{"host": {"example.test"}, "accept": {"a", "b\ufffd\"\\\x01"}, "x-two": {"1", "2"}}
	head := kitEvent{
		Metadata: &kitMetadata{
			"cid", "r-cid", "192.0.2.7", 40001, ptr("example.test"), "HTTP/1.1", ptr("1.3"), nil, nil, ptr("backend"),
			"2025-12-29T08:00:00.000Z", ptr("00-a-b-01"),
		},
		Method: "GET", URI: "/a?x=1", Headers: headers,
	}
	chunk := Chunk{Data: []byte("MX0?"), Index: 1, Last: true, Total: 9, Sent: 8}
	data := kitEvent{
		CorrelationID: "cid", Data: ptr(base64.StdEncoding.EncodeToString(chunk.Data)), IsLast: ptr(true), TotalSize: ptr(uint64(9)),
		ChunkIndex: ptr(uint32(1)), BytesReceived: ptr(uint64(8)),
	}
	sent := data
	sent.BytesSent = ptr(uint64(8))
	unsized := kitEvent{CorrelationID: "cid", Data: ptr(""), IsLast: ptr(false), ChunkIndex: ptr(uint32(0)), BytesReceived: ptr(uint64(0))}
	done := Complete{Status: 502, Duration: 12 * time.Millisecond, RequestBytes: 3, ResponseBytes: 5, Attempts: 2, Error: "upstream_refused"}
	for name, test := range map[string]struct {
		event Event
		word  string
		want  kitEvent
		v2    func(*kitEvent)
	}{
		"request headers": {Event{Kind: RequestHeaders, Request: r}, "request_headers", head, func(e *kitEvent) { e.CorrelationID, e.HasBody = "cid", ptr(true) }},
		"request body":    {Event{Kind: RequestBody, Chunk: chunk}, "request_body_chunk", data, nil},
		"empty body":      {Event{Kind: RequestBody, Chunk: Chunk{Total: -1}}, "request_body_chunk", unsized, nil},
		"response body":   {Event{Kind: ResponseBody, Chunk: chunk}, "response_body_chunk", sent, nil},
		"response headers": {
			Event{Kind: ResponseHeaders, Status: 204, Fields: []wire.Field{field("ETag", "x")}},
			"response_headers",
			kitEvent{CorrelationID: "cid", Status: ptr(uint16(204)), Headers: map[string][]string{"etag": {"x"}}},
			func(e *kitEvent) { e.StatusCode, e.HasBody = ptr(uint16(204)), ptr(false) },
		},
		"complete": {Event{Kind: RequestComplete, Complete: done}, "request_complete", kitEvent{
			CorrelationID: "cid", Status: ptr(uint16(502)), DurationMS: ptr(uint64(12)), RequestBody: ptr(uint64(3)), ResponseBody: ptr(uint64(5)),
			Attempts: ptr(uint32(2)), RequestSize: ptr(uint64(3)), ResponseSize: ptr(uint64(5)), Error: ptr("upstream_refused"),
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, word := ofV1(t, &test.event)
			if word != test.word || !reflect.DeepEqual(got, test.want) {
				t.Errorf("v1: %q %+v\nwant %+v", word, got, test.want)
			}
			want := test.want
			want.RequestID = ptr(uint64(7))
			if test.v2 != nil {
				test.v2(&want)
			}
			if got := ofV2(t, &test.event); !reflect.DeepEqual(got, want) {
				t.Errorf("v2: %+v\nwant %+v", got, want)
			}
		})
	}
}

// subset reports where want's values are not in got.
func subset(want, got any) string {
	w, ok := want.(map[string]any)
	if !ok {
		if !reflect.DeepEqual(want, got) {
			return "a value differs"
		}
		return ""
	}
	g, _ := got.(map[string]any)
	for key, value := range w {
		other, there := g[key]
		if !there {
			return key + " is missing"
		}
		if why := subset(value, other); why != "" {
			return key + ": " + why
		}
	}
	return ""
}

// TestCapturedEvents has our bytes carry every value that agents made with published kits were seen to take.
func TestCapturedEvents(t *testing.T) {
	r := request("cid-1")
	r.RequestID, r.Path, r.HasQuery, r.Host = []byte("cid-1"), []byte("/admin/users"), false, []byte("example.test")
	chunk := func(data string, i int, last bool, total, sent int64) Chunk {
		return Chunk{Data: []byte(data), Index: i, Last: last, Total: total, Sent: sent}
	}
	s := &Session{id: []byte("cid-1"), number: 1}
	for _, test := range []struct{ ours, captured string }{
		{
			string(appendHandshake(nil, &Options{ProxyVersion: "0.1.0"})),
			`{"protocol_version":2,"client_name":"sentinel","supported_features":[],"supported_versions":[2],"proxy_id":"sentinel","proxy_version":"0.1.0","config":null,"supported_encodings":["json"]}`,
		},
		{
			string(appendV2(nil, s, &Event{Request: r})),
			`{"request_id":1,"correlation_id":"cid-1","method":"GET","uri":"/admin/users","headers":{"host":["example.test"],"user-agent":["curl/8"]},"has_body":false,"metadata":{"correlation_id":"cid-1","request_id":"cid-1","client_ip":"192.0.2.7","client_port":40001,"server_name":"example.test","protocol":"HTTP/1.1","tls_version":null,"tls_cipher":null,"route_id":"api","upstream_id":"backend","timestamp":"2025-12-29T08:00:00.000Z"}}`,
		},
		{
			string(appendV2(nil, s, &Event{Kind: RequestBody, Chunk: chunk(`{"a":`, 0, false, -1, 5)})),
			`{"request_id":1,"correlation_id":"cid-1","chunk_index":0,"data":"eyJhIjo=","is_last":false,"total_size":null,"bytes_received":5}`,
		},
		{
			string(appendV2(nil, s, &Event{Kind: ResponseHeaders, Status: 200, HasBody: true, Fields: []wire.Field{field("Content-Type", "text/html")}})),
			`{"request_id":1,"correlation_id":"cid-1","status_code":200,"status":200,"headers":{"content-type":["text/html"]},"has_body":true}`,
		},
		{string(appendV2DCancel(nil, 3, ClientDisconnect)), `{"request_id":3,"reason":"client_disconnect"}`},
		{
			string(appendV1(nil, []byte("c3"), &Event{Kind: ResponseHeaders, Status: 200, Fields: []wire.Field{field("Content-Type", "text/html")}})),
			`{"version":1,"event_type":"response_headers","payload":{"correlation_id":"c3","status":200,"headers":{"content-type":["text/html"]}}}`,
		},
		{
			string(appendV1(nil, []byte("c3"), &Event{Kind: RequestComplete, Complete: Complete{Status: 200, Duration: 12 * time.Millisecond, ResponseBytes: 5, Attempts: 1}})),
			`{"version":1,"event_type":"request_complete","payload":{"correlation_id":"c3","status":200,"duration_ms":12,"request_body_size":0,"response_body_size":5,"upstream_attempts":1,"request_size":0,"response_size":5,"error":null}}`,
		},
		{
			string(appendV1(nil, []byte("b1"), &Event{Kind: RequestBody, Chunk: chunk(`<script>"}`, 1, true, 16, 16)})),
			`{"version":1,"event_type":"request_body_chunk","payload":{"correlation_id":"b1","data":"PHNjcmlwdD4ifQ==","is_last":true,"total_size":16,"chunk_index":1,"bytes_received":16}}`,
		},
		{
			string(appendV1(nil, []byte("b2"), &Event{Kind: ResponseBody, Chunk: chunk("<p>", 0, false, -1, 3)})),
			`{"version":1,"event_type":"response_body_chunk","payload":{"correlation_id":"b2","data":"PHA+","is_last":false,"total_size":null,"chunk_index":0,"bytes_sent":3,"bytes_received":3}}`,
		},
		{
			string(appendV1Configure(nil, &Options{ID: "rl", Config: []byte(`{"enabled":true,"requests_per_minute":2,"blocked_paths":["/blocked"]}`)})),
			`{"version":1,"event_type":"configure","payload":{"agent_id":"rl","config":{"enabled":true,"requests_per_minute":2,"blocked_paths":["/blocked"]}}}`,
		},
	} {
		var ours, captured any
		if err := json.Unmarshal([]byte(test.ours), &ours); err != nil {
			t.Fatalf("%s: %v", test.ours, err)
		}
		if err := json.Unmarshal([]byte(test.captured), &captured); err != nil {
			t.Fatal(err)
		}
		if why := subset(captured, ours); why != "" {
			t.Errorf("%s\nours     %s\ncaptured %s", why, test.ours, test.captured)
		}
	}
}

// TestCapturedConfigure is the one event whose bytes are those captured, the frame's length included.
func TestCapturedConfigure(t *testing.T) {
	want, err := hex.DecodeString("0000004d7b2276657273696f6e223a312c226576656e745f74797065223a22636f6e666967757265222c227061796c6f6164223a7b226167656e745f6964223a2261222c22636f6e666967223a7b7d7d7d")
	if err != nil {
		t.Fatal(err)
	}
	if got := appendV1Configure(nil, &Options{ID: "a", Config: []byte("{}")}); string(got) != string(want[4:]) || want[3] != byte(len(got)) {
		t.Errorf("%s, want %s", got, want[4:])
	}
}

// TestHostileHeads has whatever a head holds be JSON that strict readers take, under names that are unique.
func TestHostileHeads(t *testing.T) {
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
	}
	r := request("cid")
	r.Client = netip.AddrPort{}
	for _, p := range []*[]byte{&r.Path, &r.Query, &r.Host, &r.Method, &r.ServerName, &r.RequestID, &r.Traceparent} {
		*p = all
	}
	r.Fields = []wire.Field{{Name: all, Value: all}, {Name: all, Value: nil}}
	text := appendV2(nil, &Session{id: all}, &Event{Request: r})
	var got kitEvent
	if err := json.Unmarshal(text, &got); err != nil || !utf8.Valid(text) {
		t.Fatalf("%q: %v", text, err)
	}
	if !strings.HasPrefix(got.URI, "\x00\x01") || strings.Count(got.URI, "?\x00") != 1 || len(got.Headers) != 2 {
		t.Errorf("%q, %d headers", got.URI, len(got.Headers))
	}
}
