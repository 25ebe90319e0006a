package config

import (
	"strings"
	"testing"
)

func TestLintFilters(t *testing.T) {
	for _, test := range []struct {
		name, filter string
		edit         [2]string // of tidy
		want         []string
	}{
		{name: "null with credentials", filter: `type "cors"; allowed-origins "https://a.example" "null"; allow-credentials #true`, want: []string{`filters.filter "f".allowed-origins: "null" with allow-credentials`}},
		{name: "null without", filter: `type "cors"; allowed-origins "null"`},
		{name: "cors without OPTIONS", filter: `type "cors"`, edit: [2]string{`path-prefix "/api"`, `path-prefix "/api"; method "GET"`}, want: []string{`a cors filter on a route that does not match OPTIONS`}},
		{name: "cors with OPTIONS", filter: `type "cors"`, edit: [2]string{`path-prefix "/api"`, `path-prefix "/api"; method "GET" "OPTIONS"`}},
		{name: "bodies in the log", filter: `type "log"; log-body #true`, want: []string{`filters.filter "f".log-body: bodies are written to the log`}},
		{name: "timeout of the filter", filter: `type "timeout"; upstream-timeout-secs 5`, edit: [2]string{"      timeout-secs 10\n", ""}},
		{name: "timeout of something else", filter: `type "timeout"; connect-timeout-secs 5`, edit: [2]string{"      timeout-secs 10\n", ""}, want: []string{"no timeout of its own"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(tidy, test.edit[0], test.edit[1], 1)
			text = strings.Replace(text, `filters "guard"`, `filters "guard" "f"`, 1) + "filter \"f\" { " + test.filter + " }\n"
			checkWarnings(t, Lint(loaded(t, text)), test.want)
		})
	}
}
