package health

import "testing"

// BenchmarkProbe is what one probe costs, connection and target included.
func BenchmarkProbe(b *testing.B) {
	for _, probe := range []Probe{
		{Type: "http", Address: serve(b, answering(okAnswer))},
		{Type: "tcp", Address: serve(b, silent)},
		{Type: "grpc", Address: serveGRPC(b, nil, serving)},
	} {
		b.Run(probe.Type, func(b *testing.B) {
			probe.Timeout = patience
			b.ReportAllocs()
			for b.Loop() {
				if err := probe.Do(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
