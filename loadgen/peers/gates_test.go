package peers

import (
	"testing"

	"github.com/sentinel-proxy/sentinel-go/loadgen/stat"
)

// closedRounds makes samples of one work for two subjects from their CPU times, round by round.
func closedRounds(work, ours, theirs string, cpu [][2]float64) []ClosedSample {
	var samples []ClosedSample
	for round, c := range cpu {
		samples = append(samples,
			ClosedSample{Work: work, Subject: ours, Round: round, CPUMicros: c[0], RequestsPerSecond: 1e6 / c[0], P99Micros: 20 * c[0]},
			ClosedSample{Work: work, Subject: theirs, Round: round, CPUMicros: c[1], RequestsPerSecond: 1e6 / c[1], P99Micros: 20 * c[1]})
	}
	return samples
}

func gate(t *testing.T, gates []Gate, id, unit, subject string) Gate {
	t.Helper()
	for _, g := range gates {
		if g.ID == id && g.Unit == unit && g.Subject == subject {
			return g
		}
	}
	t.Fatalf("no gate %s in %s of %s among %+v", id, unit, subject, gates)
	return Gate{}
}

// The machine was twice as slow in the second round. The ratio within each round does not see that.
func TestJudgeTakesRatiosWithinARound(t *testing.T) {
	r := &Results{Closed: closedRounds(workSmall, sentinelOne, nginx, [][2]float64{{8, 10}, {16, 20}, {8, 10}})}
	gates := judge(r)
	cpu := gate(t, gates, "P1", "x nginx", sentinelOne)
	if want := (stat.Summary{Median: 0.8, Min: 0.8, Max: 0.8, Rounds: 3}); cpu.Measured != want || cpu.Verdict != Aim || !cpu.Decides {
		t.Errorf("P1 = %+v, want %+v and its aim", cpu, want)
	}
	if rate := gate(t, gates, "P2", "x nginx", sentinelOne); rate.Measured.Median != 1.25 || rate.Verdict != Aim {
		t.Errorf("P2 = %+v, want 1.25 and its aim", rate)
	}
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		name      string
		atLeast   bool
		must, aim float64
		median    float64
		want      Verdict
	}{
		{"at most: aim", false, 1.15, 0.9, 0.9, Aim},
		{"at most: gate", false, 1.15, 0.9, 1.15, Pass},
		{"at most: beyond", false, 1.15, 0.9, 1.16, Miss},
		{"at least: aim", true, 0.95, 1.1, 1.1, Aim},
		{"at least: gate", true, 0.95, 1.1, 0.95, Pass},
		{"at least: below", true, 0.95, 1.1, 0.94, Miss},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := Gate{AtLeast: tt.atLeast, Must: tt.must, Aim: tt.aim, Measured: stat.Summary{Median: tt.median}}
			if got := g.verdict(); got != tt.want {
				t.Errorf("verdict of %v = %q, want %q", tt.median, got, tt.want)
			}
		})
	}
}

func TestJudgeMemoryAndRoutes(t *testing.T) {
	r := &Results{
		Memory: []MemorySample{{Subject: sentinelOne, AfterOne: 2048, AfterBurst: 9 << 10}},
		Routes: []RouteSample{
			{Routes: 10, Kind: "mix", Nanos: 100}, {Routes: 10000, Kind: "mix", Nanos: 350}, {Routes: 10000, Kind: "last", Nanos: 400, Allocs: 2},
		},
	}
	gates := judge(r)
	tests := []struct {
		id, unit string
		median   float64
		want     Verdict
	}{
		{"P7", "ns", 350, Pass},
		{"P7", "allocs", 2, Miss},
		{"P7", "x 10 routes", 3.5, Miss},
		{"P9", "KiB", 2, Aim},
	}
	for _, tt := range tests {
		if g := gate(t, gates, tt.id, tt.unit, sentinelOne); g.Measured.Median != tt.median || g.Verdict != tt.want {
			t.Errorf("%s in %s = %+v, want %v, %s", tt.id, tt.unit, g, tt.median, tt.want)
		}
	}
	if last := gates[len(gates)-1]; last.Measured.Median != 9 || last.Verdict != Miss {
		t.Errorf("P9 after the burst = %+v, want 9 KiB, missed", last)
	}
}

func TestFailure(t *testing.T) {
	slow := closedRounds(workSmall, sentinelOne, nginx, [][2]float64{{20, 10}})
	tests := []struct {
		name   string
		closed []ClosedSample
		fails  bool
	}{
		{"reached", closedRounds(workSmall, sentinelOne, nginx, [][2]float64{{10, 10}}), false},
		{"missed", slow, true},
		{"only the one that does not decide", closedRounds(workSmall, sentinel, nginx, [][2]float64{{10, 10}}), true},
		{"nothing measured", nil, true},
		{"only peers", closedRounds(workSmall, caddy, nginx, [][2]float64{{10, 10}}), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &Results{Closed: tt.closed}
			r.Gates = judge(r)
			if err := r.Failure(); (err != nil) != tt.fails {
				t.Errorf("Failure() = %v, gates %+v", err, r.Gates)
			}
		})
	}
}
