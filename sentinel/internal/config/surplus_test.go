package config

import "testing"

// What nobody reads is a warning each, with its place: nothing is dropped in silence.
func TestSurplus(t *testing.T) {
	pick := func(c *Config) bool { return len(c.Routes) == 1 }
	checkShapes(t, pick, []shape[bool]{
		{name: "setting", text: withTop("limits { max-heder-count 5 }"), want: true, warnings: []string{`5:10: limits: unknown setting "max-heder-count" (ignored); did you mean "max-header-count"`}},
		{name: "property", text: withTop("limits max-heder-count=5"), want: true, warnings: []string{`5:8: limits: unknown setting "max-heder-count"`}},
		{name: "nothing alike", text: withRoute("matches { path \"/\" }\nretry-policy { }\nerror-pages { zzz }"), want: true, warnings: []string{
			`unknown setting "zzz" (ignored); expected one of default-format, template-dir, include-stack-trace, pages`,
		}},
		{name: "argument", text: withTop("limits 5 { }"), want: true, warnings: []string{"limits: surplus argument: 5; ignored"}},
		{name: "second argument", text: withTop("limits { max-header-count 5 6 }"), want: true, warnings: []string{`surplus argument of "max-header-count": 6; ignored`}},
		{name: "property of a scalar", text: withTop("limits { max-header-count 5 x=6 }"), want: true, warnings: []string{`surplus property "x" of "max-header-count": 6; ignored`}},
		{name: "block of a scalar", text: withTop("limits { max-header-count 5 { x } }"), want: true, warnings: []string{`surplus block of "max-header-count": x; ignored`}},
		{name: "property not built", text: withRoute("matches { path \"/\" }\npolicies rewrite-path=\"/x\""), want: true, warnings: []string{"policies.rewrite-path: not supported in this build, ignored"}},
		{name: "run-on of no setting", text: withTop("limits { max-header-count 5 max-heder 6 }"), want: true, warnings: []string{`surplus argument of "max-header-count": max-heder`, `surplus argument of "max-header-count": 6`}},
		{name: "run-on", text: withTop("limits { max-header-count 5 max-body-size 6 max-queued-requests 7 }"), want: true},
	})
}

// A run-on setting counts as written: it is not a second value of the setting it follows.
func TestRunOnIsOneSetting(t *testing.T) {
	l := loaded(t, withTop("limits { max-header-count 5 max-body-size 6 max-queued-requests 7 }")).Limits
	if l.MaxHeaderCount != 5 || l.MaxBodySize != 6 || l.MaxQueued != 7 {
		t.Errorf("got %d, %d, %d, want 5, 6, 7", l.MaxHeaderCount, l.MaxBodySize, l.MaxQueued)
	}
	_, problems := Parse("test.kdl", []byte(withTop("limits { max-header-count 5 max-header-count 6 }")), Options{})
	if !problems.HasErrors() {
		t.Error("a run-on repetition is no duplicate")
	}
}
