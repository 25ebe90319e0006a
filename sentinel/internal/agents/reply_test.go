package agents

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// TestChecklist10Replies reads decisions and header ops in every form that agents use, and nothing else.
func TestChecklist10Replies(t *testing.T) {
	block := func(status int, body string) *agent.Verdict { return agent.Block(status, body) }
	for name, test := range map[string]struct {
		decision string
		want     *agent.Verdict // nil: no verdict
	}{
		"word":                    {`"allow"`, agent.Allow()},
		"empty object":            {`{"allow":{}}`, agent.Allow()},
		"null member":             {`{"allow":null}`, agent.Allow()},
		"needs more":              {`{"needs_more":true}`, &agent.Verdict{Decision: agent.Allowed, NeedsMore: true}},
		"block":                   {`{"block":{"status":429,"body":"no"}}`, block(429, "no")},
		"block of Rust":           {`{"block":{"status":403,"body":"no","headers":null}}`, block(403, "no")},
		"block with null":         {`{"block":{"status":403,"body":null,"headers":{"a":"b"}}}`, block(403, "").SetHeader("a", "b")},
		"block without a status":  {`{"block":{}}`, block(403, "")},
		"block with 100":          {`{"block":{"status":100}}`, block(403, "")},
		"block with 600":          {`{"block":{"status":600}}`, block(403, "")},
		"block with 200":          {`{"block":{"status":200}}`, block(200, "")},
		"redirect":                {`{"redirect":{"url":"https://a.test/","status":307}}`, agent.Redirect(307, "https://a.test/")},
		"redirect with 200":       {`{"redirect":{"url":"/a","status":200}}`, agent.Redirect(302, "/a")},
		"challenge":               {`{"challenge":{"challenge_type":"captcha","params":{"a":"b","n":1}}}`, agent.Challenge("captcha", map[string]string{"a": "b", "n": "1"})},
		"challenge alone":         {`{"challenge":{"challenge_type":"captcha"}}`, agent.Challenge("captcha", map[string]string{})},
		"null":                    {`null`, nil},
		"empty":                   {`{}`, nil},
		"two keys":                {`{"allow":{},"block":{"status":403}}`, nil},
		"unknown key":             {`{"permit":{}}`, nil},
		"unknown word":            {`"Allow"`, nil},
		"number":                  {`1`, nil},
		"array":                   {`["allow"]`, nil},
		"true":                    {`true`, nil},
		"allow false":             {`{"allow":false}`, nil},
		"allow with members":      {`{"allow":{"a":1}}`, nil},
		"needs more false":        {`{"needs_more":false}`, nil},
		"block null":              {`{"block":null}`, nil},
		"block by a word":         {`{"block":"x"}`, nil},
		"status text":             {`{"block":{"status":"403"}}`, nil},
		"status with a fraction":  {`{"block":{"status":403.5}}`, nil},
		"status beyond integers":  {`{"block":{"status":99999999999999999999}}`, nil},
		"redirect to nothing":     {`{"redirect":{"url":"","status":302}}`, nil},
		"redirect with CR LF":     {`{"redirect":{"url":"/a\r\nb: c","status":302}}`, nil},
		"redirect to no URL":      {`{"redirect":{"url":"http://[::1","status":302}}`, nil},
		"same key twice":          {`{"allow":{},"allow":{}}`, nil},
		"depth bomb":              {strings.Repeat("[", 1<<20), nil},
		"depth bomb that is JSON": {strings.Repeat(`{"allow":`, 1<<19) + "null" + strings.Repeat("}", 1<<19), nil},
		"not UTF-8":               {"\"allow\xff\"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			payload := `{"version":2,"decision":` + test.decision + `}`
			a := verdictOf([]byte(payload), RequestHeaders, &Options{})
			if test.want == nil {
				if a.verdict != nil || a.failure == nil || a.failure.Kind != BadReply {
					t.Errorf("%+v, %v; want a failure", a.verdict, a.failure)
				}
				return
			}
			if a.failure != nil || !reflect.DeepEqual(a.verdict, test.want) {
				t.Errorf("%+v, %v; want %+v", a.verdict, a.failure, test.want)
			}
		})
	}
}

// TestChecklist10HeaderOps reads both forms of header ops in every dialect.
func TestChecklist10HeaderOps(t *testing.T) {
	for list, want := range map[string][]agent.HeaderOp{
		`[]`:   nil,
		`null`: nil,
		`[{"set":{"name":"a","value":"b"}},{"add":{"name":"c","value":"d"}},{"remove":{"name":"e"}}]`: {
			{Kind: agent.SetHeader, Name: "a", Value: "b"}, {Kind: agent.AddHeader, Name: "c", Value: "d"}, {Kind: agent.RemoveHeader, Name: "e"},
		},
		`[{"operation":"set","name":"a","value":"b"},{"operation":"add","name":"c","value":"d"},{"operation":"remove","name":"e"}]`: {
			{Kind: agent.SetHeader, Name: "a", Value: "b"}, {Kind: agent.AddHeader, Name: "c", Value: "d"}, {Kind: agent.RemoveHeader, Name: "e"},
		},
		`[{"set":{"name":"","value":"a\r\nb"}}]`: {{Kind: agent.SetHeader, Value: "a\r\nb"}}, // for the proxy to refuse
	} {
		payload := `{"decision":"allow","request_headers":` + list + `,"response_headers":` + list + `}`
		a := verdictOf([]byte(payload), RequestHeaders, &Options{})
		if a.failure != nil || !reflect.DeepEqual(a.verdict.RequestOps, want) || !reflect.DeepEqual(a.verdict.ResponseOps, want) {
			t.Errorf("%s: %+v, %v", list, a.verdict, a.failure)
		}
	}
	op := `{"set":{"name":"a","value":"b"}}`
	for name, list := range map[string]string{
		"unknown":    `[{"operation":"move","name":"a"}]`,
		"none":       `[{}]`,
		"two":        `[{"set":{"name":"a","value":"b"},"remove":{"name":"a"}}]`,
		"no object":  `["set"]`,
		"no list":    `{"set":{"name":"a","value":"b"}}`,
		"name is 1":  `[{"set":{"name":1,"value":"b"}}]`,
		"129":        `[` + strings.Repeat(op+",", maxOps) + op + `]`,
		"over bytes": `[{"set":{"name":"a","value":"` + strings.Repeat("b", maxOpBytes) + `"}}]`,
	} {
		a := verdictOf([]byte(`{"decision":"allow","request_headers":`+list+`}`), RequestHeaders, &Options{})
		if a.failure == nil || a.failure.Kind != BadReply {
			t.Errorf("%s: %+v, want a failure", name, a.verdict)
		}
	}
}

// TestCapturedReplies reads what agents made with published kits were seen to answer.
func TestCapturedReplies(t *testing.T) {
	for _, test := range []struct {
		dialect Dialect
		reply   string
		check   func(v *agent.Verdict) bool
	}{
		{V2D, `{"request_id":1,"decision":{"block":{"body":"Access denied","status":403}},"audit":{"rule_ids":["ADMIN_BLOCKED"],"tags":["security"]}}`, func(v *agent.Verdict) bool {
			return v.Status == 403 && v.Body == "Access denied" && v.Audit.RuleIDs[0] == "ADMIN_BLOCKED" && v.Audit.Tags[0] == "security"
		}},
		{V2D, `{"request_id":1,"decision":"allow","request_headers":[{"operation":"set","name":"X-Agent-Processed","value":"true"},{"operation":"set","name":"X-Agent-Version","value":"v2"}]}`, func(v *agent.Verdict) bool {
			return v.Decision == agent.Allowed && len(v.RequestOps) == 2 && v.RequestOps[1] == agent.HeaderOp{Kind: agent.SetHeader, Name: "X-Agent-Version", Value: "v2"}
		}},
		{V2D, `{"request_id":1,"decision":{"needs_more":true}}`, func(v *agent.Verdict) bool { return v.Decision == agent.Allowed && v.NeedsMore }},
		{V2D, `{"request_id":1,"decision":{"block":{"body":"Rate limit exceeded","headers":{"Retry-After":"60"},"status":429}},"audit":{"custom":{"client_ip":"192.0.2.9","limit":100,"request_count":101},"tags":["rate_limited"]}}`, func(v *agent.Verdict) bool {
			return v.Status == 429 && v.Headers["Retry-After"] == "60" && string(v.Audit.Custom["limit"]) == "100"
		}},
		{V1, `{"version":2,"decision":{"block":{"body":"Access denied","status":403}},"request_headers":[],"response_headers":[],"routing_metadata":{},"audit":{"tags":["security"],"rule_ids":["ADMIN_BLOCKED"]},"needs_more":false}`, func(v *agent.Verdict) bool { return v.Status == 403 }},
		{V1, `{"version":2,"decision":"allow","request_headers":[{"set":{"name":"X-Agent-Processed","value":"true"}}],"response_headers":[],"routing_metadata":{},"audit":{},"needs_more":false}`, func(v *agent.Verdict) bool {
			return v.Decision == agent.Allowed && v.RequestOps[0].Value == "true"
		}},
		{V1, `{"version":2,"decision":"allow","request_headers":[],"response_headers":[],"routing_metadata":{},"audit":{},"needs_more":true}`, func(v *agent.Verdict) bool { return v.NeedsMore }},
		{V2R, `{"version":2,"decision":"allow","request_headers":[{"set":{"name":"X-Echo-Agent","value":"echo-agent/1.0"}}],"response_headers":[],"routing_metadata":{},"audit":{"tags":[],"rule_ids":[],"confidence":null,"reason_codes":[],"custom":{"correlation_id":"cid-1"}},"needs_more":false,"request_body_mutation":null,"response_body_mutation":null,"websocket_decision":null}`, func(v *agent.Verdict) bool {
			return v.Decision == agent.Allowed && len(v.Audit.Custom) == 0 && v.Audit.Confidence == nil && v.RequestOps[0].Name == "X-Echo-Agent"
		}},
	} {
		r, key, f := replyOf([]byte(test.reply), test.dialect)
		want := map[Dialect]callKey{V2D: {number: 1}, V2R: {id: "cid-1"}, V1: {}}[test.dialect]
		if f != nil || key != want {
			t.Errorf("%s: %v, %v", test.reply, key, f)
			continue
		}
		if a := r.answer(RequestHeaders, len(test.reply), &Options{}); a.failure != nil || !test.check(a.verdict) {
			t.Errorf("%s: %+v, %v", test.reply, a.verdict, a.failure)
		}
	}
}

// TestMutations replaces the body that was asked about.
func TestMutations(t *testing.T) {
	for data, want := range map[string]*string{`null`: nil, `""`: ptr(""), `"PHA+"`: ptr("<p>")} {
		payload := fmt.Sprintf(`{"decision":"allow","request_body_mutation":{"data":%s,"chunk_index":0},"response_body_mutation":{"data":"bm8=","chunk_index":0}}`, data)
		v := verdictOf([]byte(payload), RequestBody, &Options{MaxReply: 10}).verdict
		switch {
		case want == nil:
			if f := verdictOf([]byte(payload), RequestBody, &Options{MaxReply: 10}).failure; f == nil {
				t.Error("a long reply without a body is taken")
			}
		case v == nil || v.Replace == nil || string(*v.Replace) != *want:
			t.Errorf("%s: %+v", data, v)
		}
		if v := verdictOf([]byte(payload), RequestHeaders, &Options{}).verdict; v == nil || v.Replace != nil {
			t.Errorf("%s: a body for headers: %+v", data, v)
		}
	}
	for _, bad := range []string{`"!"`, `"PHA"`, `1`} {
		a := verdictOf([]byte(`{"decision":"allow","request_body_mutation":{"data":`+bad+`}}`), RequestBody, &Options{})
		if a.failure == nil {
			t.Errorf("%s is taken for base64", bad)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// TestGreetings reads capabilities of both dialects.
func TestGreetings(t *testing.T) {
	for text, want := range map[string]Greeting{
		greetV2D: {Dialect: V2D, Name: "fake", MaxConcurrent: 100, Cancels: true},
		greetV2R: {Dialect: V2R, Name: "Fake", Version: "0.1", MaxConcurrent: 100, Cancels: true},
		`{"protocol_version":2,"agent_name":"a","capabilities":null}`: {Dialect: V2D, Name: "a"},
	} {
		if got, err := greetingOf([]byte(text)); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
}

// FuzzVerdict has every reply be a verdict within the bounds or a failure of kind BadReply.
func FuzzVerdict(f *testing.F) {
	f.Add([]byte(`{"version":2,"decision":"allow","request_headers":[{"set":{"name":"a","value":"b"}}]}`), uint8(0))
	f.Add([]byte(`{"request_id":0,"decision":{"block":{"status":403}}}`), uint8(1))
	f.Add([]byte(`{"decision":{"redirect":{"url":"/a"}},"audit":{"custom":{"correlation_id":"a"}}}`), uint8(2))
	f.Fuzz(func(t *testing.T, payload []byte, n uint8) {
		kind, d := EventKind(n%4), []Dialect{V1, V2D, V2R}[n/4%3]
		a := verdictOf(payload, kind, &Options{})
		if d != V1 {
			r, _, f := replyOf(payload, d)
			if a = (answer{failure: f}); f == nil {
				a = r.answer(kind, len(payload), &Options{})
			}
		}
		v := a.verdict
		if (v == nil) == (a.failure == nil) || v == nil && a.failure.Kind != BadReply {
			t.Fatalf("%+v, %v", v, a.failure)
		}
		if v == nil {
			return
		}
		if checkVerdict(v) != nil || v.Decision == agent.Undecided || v.Replace != nil && kind != RequestBody && kind != ResponseBody {
			t.Fatalf("%+v", v)
		}
		if _, there := v.Audit.Custom[correlationKey]; d == V2R && there {
			t.Fatal("the id is audited")
		}
	})
}

// TestReplyCosts bounds what a reply of many small parts takes, and what a failure quotes of it.
func TestReplyCosts(t *testing.T) {
	const parts = 1 << 18
	many := func(part string) string { return strings.Repeat(part+",", parts) + part }
	named := make([]string, parts)
	for i := range named {
		named[i] = fmt.Sprintf(`"%d":1`, i)
	}
	long := `"` + strings.Repeat("k", 1<<20) + `":1`
	for name, c := range map[string]struct {
		members string
		most    int // bytes for each of the reply
		fails   bool
	}{
		"ops":          {`"request_headers":[` + many("{}") + `]`, 4, true},
		"tags":         {`"audit":{"tags":[` + many(`""`) + `]}`, 4, false},
		"custom":       {`"audit":{"custom":{` + strings.Join(named, ",") + `}}`, 24, false},
		"a name twice": {`"audit":{` + long + "," + long + `}`, 20, true},
	} {
		t.Run(name, func(t *testing.T) {
			payload := []byte(`{"decision":"allow",` + c.members + `}`)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := verdictOf(payload, RequestHeaders, &Options{})
			runtime.ReadMemStats(&after)
			if took := int(after.TotalAlloc - before.TotalAlloc); took > c.most*len(payload) {
				t.Errorf("%d bytes for a reply of %d", took, len(payload))
			}
			if c.fails != (a.failure != nil) {
				t.Fatalf("%+v, %v", a.verdict, a.failure)
			}
			if c.fails && len(a.failure.Error()) > 2*maxWords {
				t.Errorf("a failure of %d bytes", len(a.failure.Error()))
			}
		})
	}
}

// TestIDAmongMany finds whose a reply is, however much else is in the place where agents of dialect V2R put that.
func TestIDAmongMany(t *testing.T) {
	var custom strings.Builder
	for i := range 2 * maxAuditList {
		fmt.Fprintf(&custom, `"%d":1,`, i)
	}
	for name, decision := range map[string]string{"verdict": `"allow"`, "unreadable": `"allow","needs_more":7`} {
		payload := `{"decision":` + decision + `,"audit":{"custom":{` + custom.String() + `"correlation_id":"x"}}}`
		if _, key, _ := replyOf([]byte(payload), V2R); key.id != "x" {
			t.Errorf("%s: a reply for %q", name, key.id)
		}
	}
}
