package agent

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// TestVerdicts is every kind of verdict in every dialect.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	sure, never := 0.5, math.NaN()
	needsMore := Allow()
	needsMore.NeedsMore = true
	full := Allow().WithTag("t").WithRule("r1", "r2").WithReason("why")
	full.Audit.Confidence = &sure
	full.Audit.Custom = map[string]json.RawMessage{"n": json.RawMessage(`{"a":[1]}`), "broken": json.RawMessage(`{`)}
	nan := Allow()
	nan.Audit.Confidence = &never
	taken := Allow()
	taken.Audit.Custom = map[string]json.RawMessage{"correlation_id": json.RawMessage(`"stolen"`)}
	ops := Allow().SetRequestHeader("a", "1").AddRequestHeader("b", "2").RemoveRequestHeader("c").
		SetResponseHeader("d", "3").AddResponseHeader("e", "4").RemoveResponseHeader("f")
	const tagged = `[{"set":{"name":"a","value":"1"}},{"add":{"name":"b","value":"2"}},{"remove":{"name":"c"}}]`
	const flat = `[{"operation":"set","name":"a","value":"1"},{"operation":"add","name":"b","value":"2"},{"operation":"remove","name":"c"}]`
	response := strings.NewReplacer(`"a"`, `"d"`, `"1"`, `"3"`, `"b"`, `"e"`, `"2"`, `"4"`, `"c"`, `"f"`)

	for _, c := range []struct {
		name string
		v    *Verdict
		want string // the decision
		v2d  string // the rest of V2D's reply
		rest map[string]string
	}{
		{"allow", Allow(), `"allow"`, ``, nil},
		{"nil", nil, `null`, ``, nil},
		{"undecided", &Verdict{}, `null`, ``, nil},
		{"no decision at all", &Verdict{Decision: Challenged + 1}, `null`, ``, nil},
		{"replaced headers", Allow().ReplaceBody(nil), `null`, ``, nil},
		{"block", Block(403, "no"), `{"block":{"status":403,"body":"no"}}`, ``, nil},
		{"block by default", &Verdict{Decision: Blocked}, `{"block":{"status":403}}`, ``, nil},
		{"block with headers", Block(429, "").SetHeader("Retry-After", "60"), `{"block":{"status":429,"headers":{"Retry-After":"60"}}}`, ``, nil},
		{"escapes", Block(400, "\"\\\n\x00\xff<ü"), `{"block":{"status":400,"body":"\"\\\n\u0000\ufffd<ü"}}`, ``, nil},
		{"redirect", Redirect(303, "/login?a=\"b"), `{"redirect":{"url":"/login?a=\"b","status":303}}`, ``, nil},
		{"redirect by default", Redirect(0, "/"), `{"redirect":{"url":"/","status":302}}`, ``, nil},
		{"challenge", Challenge("captcha", map[string]string{"k": "v"}), `{"challenge":{"challenge_type":"captcha","params":{"k":"v"}}}`, ``, nil},
		{"challenge without params", Challenge("pow", nil), `{"challenge":{"challenge_type":"pow","params":{}}}`, ``, nil},
		{"needs more", needsMore, `"allow"`, ``, map[string]string{"needs_more": `true`}},
		{
			"operations", ops, `"allow"`, `,"request_headers":` + flat + `,"response_headers":` + response.Replace(flat),
			map[string]string{"request_headers": tagged, "response_headers": response.Replace(tagged)},
		},
		{
			"audit", full, `"allow"`, `,"audit":{"tags":["t"],"rule_ids":["r1","r2"],"confidence":0.5,"reason_codes":["why"],"custom":{"n":{"a":[1]}}}`,
			map[string]string{"audit": `{"tags":["t"],"rule_ids":["r1","r2"],"confidence":0.5,"reason_codes":["why"],"custom":{"n":{"a":[1]}}}`},
		},
		{"a confidence that is no number", nan, `"allow"`, ``, nil},
		{
			"a correlation id of the handler's", taken, `"allow"`, `,"audit":{"custom":{"correlation_id":"stolen"}}`,
			map[string]string{"audit": `{"custom":{"correlation_id":"stolen"}}`},
		},
	} {
		for _, d := range []Dialect{V1, V2D, V2R} {
			t.Run(c.name+" in "+string(d), func(t *testing.T) {
				t.Parallel()
				h := &script{requestHeaders: func(context.Context, *Request) *Verdict { return c.v }}
				got := serve(t, &Server{Handler: h}).greeted(d).ask(headersEvent(d, 7, "GET", "/"))
				if d == V2D {
					decision := c.want
					if c.name == "needs more" {
						decision = `{"needs_more":true}`
					}
					same(t, got, "\x20"+`{"request_id":7,"decision":`+decision+c.v2d+`}`)
					return
				}
				same(t, got, agentResponse(t, d, "c7", c.want, c.rest))
			})
		}
	}
}

// agentResponse is the reply of V1 or V2R, with some of its members replaced.
func agentResponse(t *testing.T, d Dialect, id, decision string, rest map[string]string) string {
	t.Helper()
	m := map[string]any{"routing_metadata": map[string]any{}, "version": 2, "needs_more": false}
	m["decision"] = json.RawMessage(decision)
	m["request_headers"], m["response_headers"] = []any{}, []any{}
	audit := map[string]any{}
	for name, text := range rest {
		if name != "audit" {
			m[name] = json.RawMessage(text)
		} else if err := json.Unmarshal([]byte(text), &audit); err != nil {
			t.Fatal(err)
		}
	}
	prefix := ""
	if d == V2R {
		prefix = "\x20"
		for _, name := range []string{"tags", "rule_ids", "reason_codes"} {
			if audit[name] == nil {
				audit[name] = []any{}
			}
		}
		if audit["confidence"] == nil {
			audit["confidence"] = nil
		}
		custom, _ := audit["custom"].(map[string]any)
		if custom == nil {
			custom = map[string]any{}
		}
		custom["correlation_id"] = id
		audit["custom"] = custom
		for _, name := range []string{"request_body_mutation", "response_body_mutation", "websocket_decision"} {
			m[name] = nil
		}
	}
	m["audit"] = audit
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return prefix + string(text)
}

// TestMutations is what bodies become, in every dialect and both directions.
func TestMutations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, data, want string }{
		{"replaced", "new", `"data":"bmV3"`},
		{"dropped", "", `"data":""`},
	} {
		for _, d := range []Dialect{V1, V2D, V2R} {
			t.Run(c.name+" in "+string(d), func(t *testing.T) {
				t.Parallel()
				h := &script{
					requestBody:  func(*Request, *Chunk) *Verdict { return Allow().ReplaceBody([]byte(c.data)) },
					responseBody: func(*Request, *Response, *Chunk) *Verdict { return Allow().ReplaceBody([]byte(c.data)) },
				}
				p := serve(t, &Server{Handler: h, Chunks: true}).greeted(d)
				p.ask(headersEvent(d, 1, "POST", "/"))
				got := p.ask(bodyEvent(d, "request_body_chunk", 1, 4, "old", true))
				if !strings.Contains(got, `"request_body_mutation":{`+c.want+`,"chunk_index":4}`) {
					t.Errorf("request: %s", got)
				}
				p.ask(responseEvent(d, 1))
				got = p.ask(bodyEvent(d, "response_body_chunk", 1, 5, "old", true))
				if !strings.Contains(got, `"response_body_mutation":{`+c.want+`,"chunk_index":5}`) {
					t.Errorf("response: %s", got)
				}
			})
		}
	}
}
