package peers

import (
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/loadgen/attack"
)

func TestReloadReport(t *testing.T) {
	r := &ReloadReport{
		Options: ReloadOptions{Routes: 1000, Reloads: 100, Rate: 5000, Duration: time.Minute}, Refused: 50,
		Quiet: attack.Percentiles{Requests: 50_000, P99: time.Millisecond}, During: attack.Percentiles{Requests: 300_000, P99: 3 * time.Millisecond},
	}
	if err := r.Failure(); err != nil {
		t.Errorf("three times the quiet p99: %v", err)
	}
	for _, want := range []string{"100 reloads in 1m0s, 50 of them refused, of 1000 routes", "requests: 350000, failed: 0", "p99 is 3.00 times"} {
		if !strings.Contains(r.Text(), want) {
			t.Errorf("no %q in\n%s", want, r.Text())
		}
	}
	r.During.P99++
	if r.Failure() == nil {
		t.Error("more than three times the quiet p99 is no failure")
	}
}

func TestMoreRoutes(t *testing.T) {
	if got := strings.Count(moreRoutes(999), "route \"r"); got != 999 {
		t.Errorf("%d routes, want 999", got)
	}
}
