package sentinel_test

import (
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// BenchmarkAgent is BenchmarkExchange with one agent on the route, in each dialect of the Unix socket. The agent is
// in the same process, so its share is counted, too.
func BenchmarkAgent(b *testing.B) {
	for _, dialect := range []agent.Dialect{agent.V1, agent.V2D, agent.V2R} {
		b.Run(string(dialect), func(b *testing.B) {
			socket := serveAgent(b, &agent.Server{Handler: agent.Base{}, Dialect: dialect})
			config := strings.Replace(steadyConfig, `upstream "o" }`, `upstream "o"; agents "a" }`, 1) + "agent \"a\" { unix-socket \"" + socket + "\" }\n"
			k := newCaller(b, startProxy(b, config, origin(b, steadyAnswer), nil))
			request := []byte(steadyRequest)
			b.ReportAllocs()
			for b.Loop() {
				if err := k.call(request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
