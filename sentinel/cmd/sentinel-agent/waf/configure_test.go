package waf

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

func TestConfigured(t *testing.T) {
	t.Parallel()
	base := Options{}.withDefaults()
	with := func(change func(*Options)) Options {
		o := base
		change(&o)
		return o
	}
	for _, c := range []struct {
		name, config string
		want         Options
	}{
		{"no block", ``, base},
		{"null", ` null `, base},
		{"an empty block", `{}`, base},
		{"everything", `{"mode":"detection","paranoia-level":4,"anomaly-threshold":1000}`, with(func(o *Options) {
			o.Mode, o.Paranoia, o.Threshold = Detection, 4, 1000
		})},
		{"one thing", `{"anomaly-threshold":10}`, with(func(o *Options) { o.Threshold = 10 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got, err := configured(base, []byte(c.config)); err != nil || got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestConfiguredErrors(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, `"k%02d":1,`, i)
	}
	for _, c := range []struct{ name, config, want string }{
		{"no object", `[1]`, "config block"},
		{"a string", `"x"`, "config block"},
		{"no json", `{`, "config block"},
		{"more after the end", `{} {}`, "config block"},
		{"an unknown key", `{"paranoia":1}`, `unknown keys ["paranoia"]`},
		{"the rules file", `{"rules":"/etc/passwd"}`, `unknown keys ["rules"]`},
		{"the case of a key", `{"Mode":"detection"}`, `unknown keys ["Mode"]`},
		{"two unknown keys", `{"b":1,"a":2,"mode":"detection"}`, `unknown keys ["a" "b"]`},
		{"a hundred unknown keys", `{` + strings.TrimSuffix(many.String(), ",") + `}`, `and 95 more`},
		{"a key with a line break", `{"a\nb":1}`, `"a\nb"`},
		{"a long key", `{"` + strings.Repeat("k", 1000) + `":1}`, `"` + strings.Repeat("k", 40) + `"`},
		{"level 0", `{"paranoia-level":0}`, "paranoia-level is 0, want 1 to 4"},
		{"level 5", `{"paranoia-level":5}`, "paranoia-level is 5, want 1 to 4"},
		{"a fraction", `{"paranoia-level":1.5}`, "paranoia-level has a value of the wrong type"},
		{"a number as text", `{"paranoia-level":"2"}`, "paranoia-level has a value of the wrong type"},
		{"a null", `{"mode":null}`, "mode has a value of the wrong type"},
		{"a giant", `{"anomaly-threshold":1e99}`, "anomaly-threshold has a value of the wrong type"},
		{"a negative", `{"anomaly-threshold":-5}`, "anomaly-threshold is -5, want 1 to 1000"},
		{"above the range", `{"anomaly-threshold":1001}`, "anomaly-threshold is 1001, want 1 to 1000"},
		{"another mode", `{"mode":"off"}`, `mode "off" is neither`},
		{"a long block", `{"mode":"` + strings.Repeat("x", maxConfig) + `"}`, "more than 65536"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := configured(Options{}.withDefaults(), []byte(c.config))
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 {
				t.Errorf("%v, want it to say %s", err, c.want)
			}
		})
	}
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	h := fresh(t, Options{})
	attack := form("x")
	attack.URI = "/?id=1+UNION+SELECT+password+FROM+users"
	steps := []struct {
		config string
		fails  bool
		want   agent.Decision
	}{
		{`{"mode":"detection"}`, false, agent.Allowed},
		{`{"mode":"off"}`, true, agent.Allowed},
		{`{}`, false, agent.Blocked}, // what the block does not have is the command line's again
	}
	for _, s := range steps {
		if err := h.Configure(t.Context(), []byte(s.config)); (err != nil) != s.fails {
			t.Errorf("%s: %v", s.config, err)
		}
		if v := h.RequestHeaders(t.Context(), attack); v.Decision != s.want {
			t.Errorf("after %s: %v, want %v", s.config, v.Decision, s.want)
		}
	}
	before := h.engine.Load()
	if err := h.Configure(t.Context(), []byte(`{"paranoia-level":1}`)); err != nil || h.engine.Load() != before {
		t.Errorf("rules were compiled again for the same options: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Mode: "off"}, "mode"},
		{Options{Paranoia: 5}, "paranoia-level"},
		{Options{Threshold: -1}, "anomaly-threshold"},
		{Options{MaxBody: maxBody + 1}, "max-body-bytes"},
		{Options{MaxPending: -1}, "max-pending"},
	} {
		if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want it to name %s", c.o, err, c.want)
		}
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	ended := errors.New("ended")
	for _, c := range []struct {
		name   string
		args   []string
		served bool
	}{
		{"defaults", nil, true},
		{"flags", []string{"--mode", "detection", "--paranoia-level", "2", "--anomaly-threshold", "7", "--max-body-bytes", "9"}, true},
		{"a zero", []string{"--paranoia-level", "0"}, false},
		{"no such file", []string{"--rules", "/nonexistent/rules"}, false},
		{"an argument", []string{"x"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got *handler
			cmd := Command(func(_ context.Context, h agent.Handler) error {
				got = h.(*handler)
				return ended
			})
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetArgs(append([]string{}, c.args...))
			err := cmd.ExecuteContext(t.Context())
			if errors.Is(err, ended) != c.served || err == nil {
				t.Fatalf("%v, served %v", err, got != nil)
			}
			if c.name == "flags" && got.options != (Options{Mode: Detection, Paranoia: 2, Threshold: 7, MaxFields: 64 << 10, MaxBody: 9, MaxPending: 1024}) {
				t.Errorf("options %+v", got.options)
			}
		})
	}
}
