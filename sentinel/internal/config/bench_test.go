package config

import (
	"fmt"
	"strings"
	"testing"
)

// routesAndUpstreams is a configuration of n routes to one upstream each.
func routesAndUpstreams(n int) string {
	var out strings.Builder
	out.WriteString(systemPart + listenerPart)
	for i := range n {
		fmt.Fprintf(&out, "route \"r%d\" {\n  matches { host \"h%d.example\"; path-prefix \"/a\" }\n  upstream \"u%d\"\n  policies { timeout-secs 5 }\n}\n", i, i, i)
		fmt.Fprintf(&out, "upstream \"u%d\" {\n  target \"10.0.0.1:80\" weight=2\n  target \"10.0.0.2:80\"\n  health-check { type \"http\" { path \"/\" } }\n}\n", i)
	}
	return out.String()
}

func BenchmarkParse1000Routes(b *testing.B) {
	text := []byte(routesAndUpstreams(1000))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if c, problems := Parse("bench.kdl", text, Options{}); c == nil || len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
