package telemetry

import (
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func BenchmarkObserve(b *testing.B) {
	r := NewMetrics(MetricsOptions{}).Route("api")
	b.ReportAllocs()
	for b.Loop() {
		r.Observe(MethodOf([]byte("GET")), 200, 700*time.Microsecond, 0, 1024)
	}
}

// BenchmarkObserveParallel is the worst case: every processor counts on one route.
func BenchmarkObserveParallel(b *testing.B) {
	r := NewMetrics(MetricsOptions{}).Route("api")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Observe(MethodOf([]byte("GET")), 200, 700*time.Microsecond, 0, 1024)
		}
	})
}

func BenchmarkGaugesParallel(b *testing.B) {
	m := NewMetrics(MetricsOptions{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.ActiveRequests.Add(1)
			m.ActiveRequests.Add(-1)
		}
	})
}

func BenchmarkObserveAgent(b *testing.B) {
	a := NewMetrics(MetricsOptions{}).Agent("waf")
	b.ReportAllocs()
	for b.Loop() {
		a.Observe(0, 81*time.Microsecond)
		a.Decided("allow")
	}
}

// clientVectors is the same work with the library's own vectors, for comparison.
type clientVectors struct {
	requests *prometheus.CounterVec
	times    *prometheus.HistogramVec
	sizes    *prometheus.HistogramVec
}

func newClientVectors() clientVectors {
	return clientVectors{
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "r"}, []string{"route", "method", "status"}),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "t", Buckets: durationSeconds}, []string{"route", "method"}),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "s", Buckets: sizeBytes}, []string{"route"}),
	}
}

func (c clientVectors) observe(status int, d time.Duration, n int64) {
	c.requests.WithLabelValues("api", "GET", strconv.Itoa(status)).Inc()
	c.times.WithLabelValues("api", "GET").Observe(d.Seconds())
	c.sizes.WithLabelValues("api").Observe(float64(n))
}

func BenchmarkClientVectors(b *testing.B) {
	c := newClientVectors()
	b.ReportAllocs()
	for b.Loop() {
		c.observe(200, 700*time.Microsecond, 1024)
	}
}

func BenchmarkClientVectorsParallel(b *testing.B) {
	c := newClientVectors()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.observe(200, 700*time.Microsecond, 1024)
		}
	})
}

// BenchmarkClientHandles keeps the handles that the vectors give: the library at its best.
func BenchmarkClientHandles(b *testing.B) {
	c := newClientVectors()
	requests := c.requests.WithLabelValues("api", "GET", "200")
	times, sizes := c.times.WithLabelValues("api", "GET"), c.sizes.WithLabelValues("api")
	b.ReportAllocs()
	for b.Loop() {
		requests.Inc()
		times.Observe((700 * time.Microsecond).Seconds())
		sizes.Observe(1024)
	}
}

func BenchmarkScrape1000Routes(b *testing.B) {
	m := NewMetrics(MetricsOptions{})
	for i := range 1000 {
		id := "route-" + strconv.Itoa(i)
		m.Route(id).Observe(MethodOf([]byte("GET")), 200, time.Millisecond, 10, 1024)
		m.Upstream("backend").Route(id).Attempts.Inc()
	}
	for b.Loop() {
		if err := m.WriteText(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
