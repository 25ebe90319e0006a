package config

import "testing"

func TestWAFShapes(t *testing.T) {
	def := BodyInspection{Request: true, Response: true, MaxBytes: 1 << 20, Decompress: true, MaxRatio: 100}
	with := func(change func(*BodyInspection)) *WAF {
		i := def
		change(&i)
		return &WAF{BodyInspection: &i}
	}
	inspection := func(body string) string { return withTop("waf { body-inspection { " + body + " } }") }
	checkShapes(t, func(c *Config) *WAF { return c.WAF }, []shape[*WAF]{
		{name: "absent", text: withTop(""), want: nil},
		{name: "empty", text: withTop("waf { }"), want: &WAF{}},
		{name: "defaults", text: inspection(""), want: &WAF{BodyInspection: &def}},
		{name: "limits", text: inspection("") + "limits { max-body-inspection-bytes 9; max-decompression-ratio 3 }\n", want: with(func(i *BodyInspection) {
			i.MaxBytes, i.MaxRatio = 9, 3
		})},
		{
			name: "everything", text: inspection(`inspect-request-body #false; inspect-response-body #false; max-inspection-bytes 5; content-types "Application/JSON" "text/"; decompress #false; max-decompression-ratio 2.5`),
			want: &WAF{BodyInspection: &BodyInspection{MaxBytes: 5, ContentTypes: []string{"application/json", "text/"}, MaxRatio: 2.5}},
		},
		{name: "other name", text: inspection("max-body-inspection-bytes 5"), want: with(func(i *BodyInspection) { i.MaxBytes = 5 })},
		{
			name: "what is not built", text: withTop("waf {\nenabled #true\nengine \"coraza\"\nmode \"prevention\"\naudit-log #true\nruleset { crs-version \"4.0\" }\n}"), want: &WAF{},
			warnings: []string{"waf.enabled: not supported", "waf.engine: not", "waf.mode: not", "waf.audit-log: not", "waf.ruleset: not"},
		},
		{
			name: "misspelt", text: withTop("waf { body-inspecton { } }"), want: &WAF{},
			warnings: []string{`did you mean "body-inspection"`},
		},
	})
}

func TestDecompressDefaults(t *testing.T) {
	const waf, custom = `type="waf"`, ""
	agent := func(head, body string) string { return withAgent(head, "unix-socket \"/a\"\n"+body) }
	off, on := "waf { body-inspection { decompress #false } }\n", "waf { body-inspection { } }\n"
	checkShapes(t, func(c *Config) bool { return c.Agents[0].Decompress }, []shape[bool]{
		{name: "waf", text: agent(waf, ""), want: true},
		{name: "waf, an empty block", text: agent(waf, "") + "waf { }\n", want: true},
		{name: "waf, the block says nothing", text: agent(waf, "") + on, want: true},
		{name: "waf, the block says no", text: agent(waf, "") + off, want: false},
		{name: "waf, the block before it", text: off + agent(waf, ""), want: false},
		{name: "waf, the agent says yes", text: agent(waf, "decompress #true") + off, want: true},
		{name: "waf, the agent says no", text: agent(waf, "decompress #false"), want: false},
		{name: "custom", text: agent(custom, "") + on, want: false},
		{name: "custom says yes", text: agent(custom, "decompress #true") + off, want: true},
	})
}
