package config

import (
	"reflect"
	"strings"
	"testing"
)

// The parts of a small configuration that has no problem; each test replaces the part it is about.
const (
	systemPart   = "system { }\n"
	listenerPart = "listeners { listener \"main\" { address \"127.0.0.1:8080\" } }\n"
	routePart    = "routes { route \"api\" { matches { path-prefix \"/api\" }; upstream \"u\" } }\n"
	upstreamPart = "upstreams { upstream \"u\" { target \"127.0.0.1:9000\" } }\n"
)

func withTop(body string) string {
	return systemPart + listenerPart + routePart + upstreamPart + body + "\n"
}

func withSystem(body string) string {
	return "system {\n" + body + "\n}\n" + listenerPart + routePart + upstreamPart
}

func withListener(body string) string {
	return systemPart + "listeners {\nlistener \"main\" {\n" + body + "\n}\n}\n" + routePart + upstreamPart
}

// withRoute has a route that lacks its matches.
func withRoute(body string) string {
	return systemPart + listenerPart + "routes {\nroute \"api\" {\nupstream \"u\"\n" + body + "\n}\n}\n" + upstreamPart
}

func withMatches(body string) string { return withRoute("matches {\n" + body + "\n}") }

func withPolicies(body string) string {
	return withRoute("matches { path \"/\" }\npolicies {\n" + body + "\n}")
}

func withUpstream(body string) string {
	return systemPart + listenerPart + routePart + "upstreams {\nupstream \"u\" {\n" + body + "\n}\n}\n"
}

func withAgent(head, body string) string {
	return systemPart + listenerPart + strings.Replace(routePart, "upstream \"u\"", "upstream \"u\"; agents \"a\"", 1) + upstreamPart +
		"agents {\nagent \"a\" " + head + " {\n" + body + "\n}\n}\n"
}

func withFilter(body string) string {
	return systemPart + listenerPart + strings.Replace(routePart, "upstream \"u\"", "upstream \"u\"; filters \"f\"", 1) + upstreamPart +
		"filters {\nfilter \"f\" {\n" + body + "\n}\n}\n"
}

// shape is one way to write something, and what it has to become.
type shape[T any] struct {
	name, text string
	want       T
	warnings   []string // a part of each warning expected
}

// checkShapes parses every shape and compares what pick takes from the result.
func checkShapes[T any](t *testing.T, pick func(*Config) T, shapes []shape[T]) {
	t.Helper()
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			c, problems := Parse("test.kdl", []byte(s.text), Options{Resources: ResourcesOff})
			if c == nil {
				t.Fatalf("Parse:\n%v\n%s", problems, s.text)
			}
			if got := pick(c); !reflect.DeepEqual(got, s.want) {
				t.Errorf("got  %+v\nwant %+v", got, s.want)
			}
			checkWarnings(t, problems, s.warnings)
		})
	}
}

func checkWarnings(t *testing.T, problems Problems, want []string) {
	t.Helper()
	if len(problems) != len(want) {
		t.Errorf("%d warnings, want %d:\n%v", len(problems), len(want), problems)
		return
	}
	for i, w := range want {
		if !strings.Contains(problems[i].String(), w) {
			t.Errorf("warning %d: %v\nwant it to say %q", i, problems[i], w)
		}
	}
}

// loaded is the Config of a text without errors.
func loaded(t *testing.T, text string) *Config {
	t.Helper()
	c, problems := Parse("test.kdl", []byte(text), Options{Resources: ResourcesOff})
	if c == nil {
		t.Fatalf("Parse: %v\n%s", problems, text)
	}
	return c
}
