package agent

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

// The bytes in this file were captured between a proxy and agents built with published kits. Where this kit
// answers otherwise on purpose, the case says why.

// simple is the agent that most captures come from, in its three variants.
func simple(v2 bool) *script {
	return &script{
		configure: limits,
		requestHeaders: func(_ context.Context, r *Request) *Verdict {
			switch {
			case strings.HasPrefix(r.URI, "/admin"):
				return Block(403, "Access denied").WithTag("security").WithRule("ADMIN_BLOCKED")
			case r.URI == "/api": // inspects bodies
				v := Allow()
				v.NeedsMore = true
				return v
			case r.Headers.Get("User-Agent") == "":
				return Allow()
			case v2:
				return Allow().SetRequestHeader("X-Agent-Processed", "true").SetRequestHeader("X-Agent-Version", "v2")
			}
			return Allow().SetRequestHeader("X-Agent-Processed", "true")
		},
		requestBody: func(_ *Request, c *Chunk) *Verdict {
			switch {
			case bytes.Contains(c.Data, []byte("<script>")):
				return Block(403, "Request contains prohibited content").WithTag("security").WithRule("PROHIBITED_CONTENT")
			case bytes.Equal(c.Data, []byte("{bad")):
				return Block(400, "Invalid JSON in request body").WithTag("invalid_json")
			case bytes.Equal(c.Data, []byte(`{"q":1}`)):
				return Allow().SetRequestHeader("X-Body-Validated", "true")
			}
			return Allow()
		},
		responseHeaders: func(_ *Request, _ *Response) *Verdict {
			if v2 {
				return Allow().SetResponseHeader("X-Content-Type-Options", "nosniff").SetResponseHeader("X-Frame-Options", "DENY")
			}
			return Allow().SetResponseHeader("X-Processed-By", "simple-agent")
		},
	}
}

func limits(config json.RawMessage) error {
	var c struct {
		BlockedPaths []string `json:"blocked_paths"`
	}
	return json.Unmarshal(config, &c)
}

// step is a frame of the proxy and the agent's: on connection conn, "" for a frame that gets no reply.
type step struct {
	conn       int
	send, want string
}

func walk(t *testing.T, site *site, d Dialect, steps []step) {
	t.Helper()
	conns := map[int]*peer{}
	for _, s := range steps {
		if conns[s.conn] == nil {
			conns[s.conn] = site.greeted(d)
		}
		if s.want == "" {
			conns[s.conn].send(s.send)
			continue
		}
		same(t, conns[s.conn].ask(s.send), s.want)
	}
}

const metaB1 = `{"correlation_id":"b1","request_id":"r-b1","client_ip":"192.0.2.7","client_port":40001,"server_name":"example.test","protocol":"HTTP/1.1","tls_version":null,"tls_cipher":null,"route_id":"api","upstream_id":"backend","timestamp":"2025-12-29T08:00:00Z"}`

func TestVectorsV1(t *testing.T) {
	t.Parallel()
	const bare = `{"version":2,"decision":"allow","request_headers":[],"response_headers":[],"routing_metadata":{},"audit":{},"needs_more":`
	const headers = `{"version":1,"event_type":"request_headers","payload":`
	for name, steps := range map[string][]step{
		"blocked": {{
			0,
			headers + `{"metadata":{"correlation_id":"c1","request_id":"r1","client_ip":"1.2.3.4","client_port":9,"protocol":"HTTP/1.1","timestamp":"2025-12-29T08:00:00Z"},"method":"GET","uri":"/admin","headers":{}}}`,
			`{"version":2,"decision":{"block":{"body":"Access denied","status":403}},"request_headers":[],"response_headers":[],"routing_metadata":{},"audit":{"tags":["security"],"rule_ids":["ADMIN_BLOCKED"]},"needs_more":false}`,
		}},
		"headers, response, end": {
			{
				0,
				headers + `{"metadata":{"correlation_id":"c3","request_id":"r1","client_ip":"1.2.3.4","client_port":9,"protocol":"HTTP/1.1","timestamp":"2025-12-29T08:00:00Z"},"method":"GET","uri":"/api?x=1","headers":{"user-agent":["curl/8"]}}}`,
				`{"version":2,"decision":"allow","request_headers":[{"set":{"name":"X-Agent-Processed","value":"true"}}],"response_headers":[],"routing_metadata":{},"audit":{},"needs_more":false}`,
			},
			// The published kits answer the next with an allow: they do not know the request on another
			// connection. Here that is no verdict.
			{
				1,
				`{"version":1,"event_type":"response_headers","payload":{"correlation_id":"c3","status":200,"headers":{"content-type":["text/html"]}}}`,
				`{"version":2,"decision":null,"request_headers":[],"response_headers":[],"routing_metadata":{},"audit":{},"needs_more":false}`,
			},
			{
				0,
				`{"version":1,"event_type":"response_headers","payload":{"correlation_id":"c3","status":200,"headers":{"content-type":["text/html"]}}}`,
				`{"version":2,"decision":"allow","request_headers":[],"response_headers":[{"set":{"name":"X-Processed-By","value":"simple-agent"}}],"routing_metadata":{},"audit":{},"needs_more":false}`,
			},
			{
				0,
				`{"version":1,"event_type":"request_complete","payload":{"correlation_id":"c3","status":200,"duration_ms":12,"request_body_size":0,"response_body_size":5,"upstream_attempts":1,"request_size":0,"response_size":5,"error":null}}`,
				`{"success":true}`,
			},
		},
		"body in two chunks": {
			{0, headers + `{"metadata":` + metaB1 + `,"method":"POST","uri":"/api","headers":{"host":["h"],"content-type":["application/json"]}}}`, bare + `true}`},
			{0, `{"version":1,"event_type":"request_body_chunk","payload":{"correlation_id":"b1","data":"eyJxIjoi","is_last":false,"total_size":16,"chunk_index":0,"bytes_received":6}}`, bare + `true}`},
			{
				0,
				`{"version":1,"event_type":"request_body_chunk","payload":{"correlation_id":"b1","data":"PHNjcmlwdD4ifQ==","is_last":true,"total_size":16,"chunk_index":1,"bytes_received":16}}`,
				`{"version":2,"decision":{"block":{"body":"Request contains prohibited content","status":403}},"request_headers":[],"response_headers":[],"routing_metadata":{},"audit":{"tags":["security"],"rule_ids":["PROHIBITED_CONTENT"]},"needs_more":false}`,
			},
		},
		"clean body, response body": {
			{0, headers + `{"metadata":` + strings.ReplaceAll(metaB1, "b1", "b2") + `,"method":"POST","uri":"/api","headers":{}}}`, bare + `true}`},
			{
				0,
				`{"version":1,"event_type":"request_body_chunk","payload":{"correlation_id":"b2","data":"eyJxIjoxfQ==","is_last":true,"total_size":7,"chunk_index":0,"bytes_received":7}}`,
				`{"version":2,"decision":"allow","request_headers":[{"set":{"name":"X-Body-Validated","value":"true"}}],"response_headers":[],"routing_metadata":{},"audit":{},"needs_more":false}`,
			},
			{
				0,
				`{"version":1,"event_type":"response_headers","payload":{"correlation_id":"b2","status":200,"headers":{}}}`,
				`{"version":2,"decision":"allow","request_headers":[],"response_headers":[{"set":{"name":"X-Processed-By","value":"simple-agent"}}],"routing_metadata":{},"audit":{},"needs_more":false}`,
			},
			{0, `{"version":1,"event_type":"response_body_chunk","payload":{"correlation_id":"b2","data":"PHA+","is_last":false,"total_size":null,"chunk_index":0,"bytes_sent":3,"bytes_received":3}}`, bare + `true}`},
		},
		"configure": {
			{0, `{"version":1,"event_type":"configure","payload":{"agent_id":"rl","config":{"enabled":true,"requests_per_minute":2,"blocked_paths":["/blocked"]}}}`, `{"success":true}`},
			{
				0,
				`{"version":1,"event_type":"configure","payload":{"agent_id":"rl","config":{"blocked_paths":"/one"}}}`,
				`{"error":"json: cannot unmarshal string into Go struct field .blocked_paths of type []string","success":false}`,
			},
		},
		// The kit has no handler for these: no verdict, where the published ones allow.
		"guardrail": {{
			0,
			`{"version":1,"event_type":"guardrail_inspect","payload":{"correlation_id":"g2","inspection_type":"pii_detection","content":"mail bob@example.com","categories":["email"],"metadata":{}}}`,
			strings.Replace(bare, `"allow"`, `null`, 1) + `false}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			walk(t, serve(t, &Server{Handler: simple(false), Name: "simple-agent"}), V1, steps)
		})
	}
}

func TestVectorsV2D(t *testing.T) {
	t.Parallel()
	const meta = `"metadata":{"correlation_id":"cid-1","request_id":"cid-1","client_ip":"192.0.2.7","client_port":40001,"server_name":"example.test","protocol":"HTTP/1.1","tls_version":null,"tls_cipher":null,"route_id":"api","upstream_id":"backend","timestamp":"2025-12-29T08:00:00Z"}`
	for name, steps := range map[string][]step{
		"blocked": {{
			0,
			"\x10" + `{"request_id":1,"correlation_id":"cid-1","method":"GET","uri":"/admin/users","headers":{"host":["example.test"],"user-agent":["curl/8"]},"has_body":false,` + meta + `}`,
			"\x20" + `{"request_id":1,"decision":{"block":{"body":"Access denied","status":403}},"audit":{"rule_ids":["ADMIN_BLOCKED"],"tags":["security"]}}`,
		}},
		"headers, body, response on another connection, cancel": {
			{
				0,
				"\x10" + `{"request_id":3,"method":"POST","uri":"/api/items?x=1","headers":{"user-agent":["curl/8"]},"has_body":true,` + meta + `}`,
				"\x20" + `{"request_id":3,"decision":"allow","request_headers":[{"operation":"set","name":"X-Agent-Processed","value":"true"},{"operation":"set","name":"X-Agent-Version","value":"v2"}]}`,
			},
			{
				0,
				"\x11" + `{"request_id":3,"correlation_id":"cid-3","chunk_index":0,"data":"eyJhIjo=","is_last":false,"total_size":null,"bytes_received":5}`,
				"\x20" + `{"request_id":3,"decision":{"needs_more":true}}`,
			},
			{
				0,
				"\x11" + `{"request_id":3,"correlation_id":"cid-3","chunk_index":1,"data":"MX0=","is_last":true,"total_size":7,"bytes_received":7}`,
				"\x20" + `{"request_id":3,"decision":"allow"}`,
			},
			{
				1,
				"\x12" + `{"request_id":3,"correlation_id":"cid-3","status_code":200,"status":200,"headers":{"content-type":["text/html"]},"has_body":true}`,
				"\x20" + `{"request_id":3,"decision":"allow","response_headers":[{"operation":"set","name":"X-Content-Type-Options","value":"nosniff"},{"operation":"set","name":"X-Frame-Options","value":"DENY"}]}`,
			},
			{0, "\x30" + `{"request_id":3,"reason":"client_disconnect"}`, ""},
			// It is forgotten now.
			{0, "\x12" + `{"request_id":3,"status_code":200,"headers":{}}`, "\x20" + `{"request_id":3,"decision":null}`},
		},
		// The published kit says allow here, under the number 0, which means that it could not read the event.
		"a frame of the other dialect": {{0, "\x41" + `{"sequence":1,"timestamp_ms":1}`, "\x20" + `{"request_id":0,"decision":null}`}},
		"headers that are a list": {{
			0,
			"\x10" + `{"request_id":5,"method":"GET","uri":"/admin","headers":[["a","b"]],"metadata":{}}`,
			"\x20" + `{"request_id":0,"decision":null}`,
		}},
		"ping": {{0, "\xf0" + `{"timestamp":7}`, "\xf1" + `{"timestamp":7}`}},
		"body that is no JSON": {
			{0, "\x10" + `{"request_id":2,"method":"POST","uri":"/x","headers":{},"has_body":true,` + meta + `}`, "\x20" + `{"request_id":2,"decision":"allow"}`},
			{
				0,
				"\x11" + `{"request_id":2,"chunk_index":0,"data":"e2JhZA==","is_last":true}`,
				"\x20" + `{"request_id":2,"decision":{"block":{"body":"Invalid JSON in request body","status":400}},"audit":{"tags":["invalid_json"]}}`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			walk(t, serve(t, &Server{Handler: simple(true), Name: "simple-agent-v2"}), V2D, steps)
		})
	}
}

// TestVectorRateLimited is the configurable agent's 101st request.
func TestVectorRateLimited(t *testing.T) {
	t.Parallel()
	site := serve(t, &Server{Handler: &script{requestHeaders: func(_ context.Context, r *Request) *Verdict {
		v := Block(429, "Rate limit exceeded").SetHeader("Retry-After", "60").WithTag("rate_limited")
		v.Audit.Custom = map[string]json.RawMessage{
			"client_ip": json.RawMessage(`"` + r.ClientIP + `"`), "limit": json.RawMessage(`100`), "request_count": json.RawMessage(`101`),
		}
		return v
	}}})
	got := site.greeted(V2D).ask("\x10" + `{"request_id":200,"method":"GET","uri":"/","headers":{},"metadata":{"correlation_id":"x","client_ip":"192.0.2.9"}}`)
	same(t, got, "\x20"+`{"request_id":200,"decision":{"block":{"body":"Rate limit exceeded","headers":{"Retry-After":"60"},"status":429}},"audit":{"custom":{"client_ip":"192.0.2.9","limit":100,"request_count":101},"tags":["rate_limited"]}}`)
}

func TestVectorV2R(t *testing.T) {
	t.Parallel()
	h := &script{requestHeaders: func(context.Context, *Request) *Verdict {
		return Allow().SetRequestHeader("X-Echo-Agent", "echo-agent/1.0")
	}}
	p := serve(t, &Server{Handler: h, Name: "Echo Agent", Version: "0.6.20"}).dial()
	same(t, p.ask(union), "\x02"+`{"protocol_version":2,"capabilities":{"agent_id":"Echo Agent","name":"Echo Agent","version":"0.6.20","supported_events":[1,2,3,4,5,8],"features":{"streaming_body":false,"websocket":false,"guardrails":false,"config_push":true,"metrics_export":false,"concurrent_requests":0,"cancellation":true,"flow_control":false,"health_reporting":false},"limits":{"max_body_size":1048576,"max_concurrency":100,"preferred_chunk_size":65536}},"success":true,"error":null,"encoding":"json"}`)
	same(t, p.ask("\x10"+`{"correlation_id":"cid-1","method":"GET","uri":"/","headers":{},"metadata":{"correlation_id":"cid-1","request_id":"r","client_ip":"192.0.2.7","client_port":1,"protocol":"HTTP/1.1","timestamp":"2025-12-29T08:00:00Z"}}`),
		"\x20"+`{"version":2,"decision":"allow","request_headers":[{"set":{"name":"X-Echo-Agent","value":"echo-agent/1.0"}}],"response_headers":[],"routing_metadata":{},"audit":{"tags":[],"rule_ids":[],"confidence":null,"reason_codes":[],"custom":{"correlation_id":"cid-1"}},"needs_more":false,"request_body_mutation":null,"response_body_mutation":null,"websocket_decision":null}`)
	same(t, p.ask("\x41"+`{"sequence":9,"timestamp_ms":1}`), "\x42"+`{"sequence":9,"timestamp_ms":1}`)
}

func TestHandshakes(t *testing.T) {
	t.Parallel()
	const (
		acceptedD = "\x02" + `{"protocol_version":2,"agent_name":"simple-agent-v2","capabilities":{"handles_request_headers":true,"handles_request_body":true,"handles_response_headers":true,"handles_response_body":true,"supports_streaming":false,"supports_cancellation":true},"accepted":true}`
		refusedD  = "\x02" + `{"protocol_version":2,"agent_name":"simple-agent-v2","capabilities":null,"error":"unsupported protocol version","accepted":false}`
		rustOnly  = "\x01" + `{"supported_versions":[2],"proxy_id":"p","proxy_version":"1"}`
	)
	for _, c := range []struct {
		name    string
		only    Dialect
		offer   string
		want    string // the whole reply, or a member of it
		refused bool
	}{
		{"documented", "", docsOnly, acceptedD, false},
		{"union", "", union, `"success":true`, false},
		{"union, forced", V2D, union, acceptedD, false},
		{"union, forced the other way", V2R, union, `"success":true`, false},
		{"without the documented members", "", rustOnly, `"success":true`, false},
		{"without the documented members, forced", V2D, rustOnly, refusedD, true},
		{"old version", "", "\x01" + `{"protocol_version":1,"client_name":"x"}`, refusedD, true},
		{"versions without 2", "", "\x01" + `{"supported_versions":[1,3]}`, `"unsupported protocol version"`, true},
		{"an encoding that is not spoken", "", "\x01" + `{"supported_versions":[2],"supported_encodings":["msgpack"]}`, `"unsupported encoding"`, true},
		{"a configuration that is refused", "", "\x01" + `{"supported_versions":[2],"config":{"blocked_paths":"/one"}}`, `"success":false`, true},
		{"a configuration that is taken", "", "\x01" + `{"supported_versions":[2],"config":{"blocked_paths":["/one"]}}`, `"success":true`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, &Server{Handler: simple(true), Name: "simple-agent-v2", Dialect: c.only}).dial()
			got := p.ask(c.offer)
			if c.want[0] == '\x02' {
				same(t, got, c.want)
			} else if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %s in it", got, c.want)
			}
			if c.refused {
				p.closed()
			}
		})
	}
}

// TestVectorBytes sends whole frames as they were captured, their lengths included.
func TestVectorBytes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dialect    Dialect
		send, want string
	}{
		"v2d ping":     {V2D, "00000010f07b2274696d657374616d70223a377d", "00000010f17b2274696d657374616d70223a377d"},
		"v1 configure": {V1, "0000004d7b2276657273696f6e223a312c226576656e745f74797065223a22636f6e666967757265222c227061796c6f6164223a7b226167656e745f6964223a2261222c22636f6e666967223a7b7d7d7d", "000000107b2273756363657373223a747275657d"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, &Server{Handler: Base{}}).greeted(c.dialect)
			raw, err := hex.DecodeString(c.send)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Write(raw); err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(frame(p.receive())); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	p := serve(t, &Server{Handler: Base{}}).dial()
	raw, err := hex.DecodeString("00000030017b2270726f746f636f6c5f76657273696f6e223a322c22636c69656e745f6e616d65223a2273656e74696e656c227d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(raw); err != nil {
		t.Fatal(err)
	}
	if got := p.receive(); !strings.Contains(got, `"accepted":true`) {
		t.Errorf("got %q", got)
	}
}
