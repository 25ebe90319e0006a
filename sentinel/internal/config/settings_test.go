package config

import (
	"encoding/json"
	"testing"
)

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSettings(t *testing.T) {
	text := withSystem("max-connections 5") + `limits { max-memory-percent 75.5; max-body-size 9 }
filter "x" { type "cors"; allowed-origins "https://a.example" "https://b.example" }
observability { logging { access-log { file "-\"quoted\"" } } }
upstream "v" { target "127.0.0.1:9001"
retry-budget percent=5
health-check { recovery-ramp-secs 3 }
}
`
	c, problems := Parse("s.kdl", []byte(text), Options{Settings: true, LookupEnv: lookupIn(map[string]string{"SENTINEL_WORKERS": "3"})})
	if c == nil {
		t.Fatal(problems)
	}
	got := map[string]Setting{}
	for _, s := range c.Settings {
		if _, twice := got[s.Path]; twice {
			t.Errorf("%s is listed twice", s.Path)
		}
		got[s.Path] = s
	}
	for _, want := range []Setting{
		{"system.worker-threads", "3", "env SENTINEL_WORKERS"},
		{"system.max-connections", "5", "s.kdl:2"},
		{"system.pid-file", "#null", "default"},
		{"system.daemon", "#false", "default"},
		{"limits.max-memory-percent", "75.5", "s.kdl:7"},
		{"limits.max-memory-bytes", "#null", "default"},
		{"limits.max-body-size-bytes", "9", "s.kdl:7"},
		{"limits.max-body-buffer-bytes", "9", "default"},
		{"limits.max-decompression-ratio", "100.0", "default"},
		{`listeners.listener "main".address`, `"127.0.0.1:8080"`, "s.kdl:4"},
		{`listeners.listener "main".request-timeout-secs`, "60", "default"},
		{`routes.route "api".matches.path-prefix`, `"/api"`, "s.kdl:5"},
		{`routes.route "api".matches.method`, "#null", "default"},
		{`routes.route "api".priority`, "50", "default"},
		{`upstreams.upstream "u".load-balancing`, `"round_robin"`, "default"},
		{`upstreams.upstream "u".target "127.0.0.1:9000".weight`, "1", "default"},
		{`upstreams.upstream "u".retry-budget.percent`, "20", "default"},
		{`upstreams.upstream "u".retry-budget.min-retries`, "10", "default"},
		{`upstreams.upstream "u".connection-pool.max-pending`, "100", "default"},
		{`upstreams.upstream "u".dns-refresh-secs`, "30", "default"},
		{`upstreams.upstream "u".recovery-ramp-secs`, "10", "default"},
		{`upstreams.upstream "v".retry-budget.percent`, "5", "s.kdl:11"},
		{`upstreams.upstream "v".recovery-ramp-secs`, "3", "default"},
		{`upstreams.upstream "v".health-check.recovery-ramp-secs`, "3", "s.kdl:12"},
		{`filters.filter "x".allowed-origins`, `"https://a.example" "https://b.example"`, "s.kdl:8"},
		{"observability.logging.access-log.file", `"-\"quoted\""`, "s.kdl:9"},
		{"observability.logging.error-log", "#false", "default"},
	} {
		if got[want.Path] != want {
			t.Errorf("%+v, want %+v", got[want.Path], want)
		}
	}
}

func TestSettingsOnlyOnDemand(t *testing.T) {
	if c := loaded(t, withTop("")); c.Settings != nil {
		t.Errorf("%d settings nobody asked for", len(c.Settings))
	}
}

// What `config show` prints can be read again: each value is KDL.
func TestSettingsAreKDL(t *testing.T) {
	c, problems := Parse("s.kdl", []byte(withAgent("", "unix-socket \"/a\"\nconfig { a \"\\u{1}\\\\\" }")), Options{Settings: true, Resources: ResourcesOff})
	if c == nil {
		t.Fatal(problems)
	}
	for _, s := range c.Settings {
		if _, problems := parseKDL("s.kdl", []byte("x "+s.Value)); len(problems) > 0 {
			t.Errorf("%s %s: %v", s.Path, s.Value, problems)
		}
	}
}
