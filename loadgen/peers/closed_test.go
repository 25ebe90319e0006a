package peers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/loadgen/wrk"
)

func TestClosedSampleDividesByRequests(t *testing.T) {
	used := meter{
		elapsed: 2 * time.Second,
		proxy:   time.Second,
		agent:   200 * time.Millisecond,
		origin:  500 * time.Millisecond,
		self:    100 * time.Millisecond,
		machine: 3 * time.Second,
	}
	r := wrk.Report{
		Requests: 80000, Elapsed: 2 * time.Second, CPU: 400 * time.Millisecond,
		P50: time.Millisecond, P99: 3 * time.Millisecond,
	}
	want := ClosedSample{
		Requests: 80000, RequestsPerSecond: 40000, CPUMicros: 12.5, AgentMicros: 2.5, P50Micros: 1000, P99Micros: 3000,
		OriginCores: 0.25, GeneratorCores: 0.2, OtherCores: 0.4,
	}
	if got, err := divide(used, r); err != nil || got != want {
		t.Errorf("divide = %+v, %v, want %+v", got, err, want)
	}
}

func TestClosedSampleNeedsCPUTime(t *testing.T) {
	if got, err := divide(meter{elapsed: time.Second}, wrk.Report{Requests: 1, Elapsed: time.Second}); err == nil {
		t.Errorf("divide = %+v, want an error: a proxy cannot work for nothing", got)
	}
}

func TestMeterMinus(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	before := meter{at: began, proxy: 1, origin: 2, self: 3, machine: 4, agent: 5}
	after := meter{at: began.Add(time.Second), proxy: 11, origin: 22, self: 33, machine: 44, agent: 55}
	want := meter{elapsed: time.Second, proxy: 10, origin: 20, self: 30, machine: 40, agent: 50}
	if got := after.minus(before); got != want {
		t.Errorf("minus = %+v, want %+v", got, want)
	}
}

func TestCheckLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "access.log")
	p := &process{setup: setup{AccessLog: name}}
	if err := checkLog(p, 10); err == nil {
		t.Error("a missing access log was accepted")
	}
	if err := os.WriteFile(name, []byte(strings.Repeat("x", 10*minLogLine)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkLog(p, 11); err == nil {
		t.Error("an access log that is too short was accepted")
	}
	if err := checkLog(p, 10); err != nil {
		t.Errorf("checkLog = %v", err)
	}
	if info, err := os.Stat(name); err != nil || info.Size() != 0 {
		t.Errorf("the access log was not emptied: %v, %v", info, err)
	}
}

func TestOrder(t *testing.T) {
	b := &bench{Options: Options{Seed: 7}, subjects: make([]subject, 5)}
	differ := false
	for round := range 10 {
		seen := make([]bool, 5)
		for _, i := range b.order(round) {
			seen[i] = true
		}
		for i, s := range seen {
			if !s {
				t.Errorf("round %d leaves out subject %d", round, i)
			}
		}
		again := b.order(round)
		for i, first := range b.order(0) {
			differ = differ || again[i] != first
		}
	}
	if !differ {
		t.Error("every round has the same order")
	}
}
