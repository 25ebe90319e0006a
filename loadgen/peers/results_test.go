package peers

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const benchmarkOutput = `goos: linux
BenchmarkMatch/10/mix-2         	  756770	       100.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkMatch/10/mix-2         	  756770	       99.5 ns/op	       0 B/op	       0 allocs/op
BenchmarkMatch/10000/mix-2      	  180770	       293.1 ns/op	      16 B/op	       1 allocs/op
BenchmarkMatch/10000/mix-2      	  180770	       301.9 ns/op	       0 B/op	       0 allocs/op
BenchmarkCompile-2              	     100	  12000301 ns/op	  99 B/op	      99 allocs/op
PASS
`

func TestParseRoutes(t *testing.T) {
	routes, err := parseRoutes(benchmarkOutput)
	if err != nil || len(routes) != 4 {
		t.Fatalf("parseRoutes = %+v, %v, want 4 samples", routes, err)
	}
	if want := (RouteSample{Routes: 10000, Kind: "mix", Nanos: 293.1, Allocs: 1}); routes[2] != want {
		t.Errorf("sample = %+v, want %+v", routes[2], want)
	}
	if got, err := parseRoutes("PASS\nok\n"); err == nil {
		t.Errorf("parseRoutes of no benchmark = %+v", got)
	}
}

func sampleResults() *Results {
	routes, _ := parseRoutes(benchmarkOutput)
	r := &Results{
		Rounds: 2,
		Closed: append(closedRounds(workSmall, sentinelOne, nginx, [][2]float64{{8, 10}, {9, 10}}),
			closedRounds(workLarge, sentinelOne, haproxy, [][2]float64{{30, 25}, {31, 25}})...),
		Fixed: []FixedSample{
			{Rate: "2000/s", PerSecond: 2000, Subject: sentinelOne, P50Micros: 51, P90Micros: 60, P99Micros: 77, P999Micros: 300},
			{Rate: "2000/s", PerSecond: 2000, Subject: nginx, P50Micros: 50, P90Micros: 61, P99Micros: 88, P999Micros: 310},
		},
		Memory:  []MemorySample{{Subject: sentinelOne, Connections: 4000, AfterOne: 2048, AfterBurst: 3072, BaseBytes: 8 << 20}},
		Routes:  routes,
		Configs: []Config{{Fleet: "plain", Subject: nginx, File: "nginx.conf", Text: "user root;\n"}},
	}
	r.Gates = judge(r)
	return r
}

func TestText(t *testing.T) {
	text := sampleResults().Text()
	for _, want := range []string{
		"P1  CPU per request, 1 KiB, 64 connections",
		"0.85 x nginx",
		"1.22 x haproxy",
		"aim reached",
		"MISS",
		"Sentinel, 1 CPU            8.50  8.00 to 9.00",
		"2000/s",
		"mix            100           298",
		"2.00 KiB",
		"2.98 x 10 routes",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "P3") {
		t.Errorf("the text has a row of what was not measured:\n%s", text)
	}
}

func TestNoisyRunSaysSo(t *testing.T) {
	r := sampleResults()
	if text := r.Text(); strings.Contains(text, "NOISY") {
		t.Errorf("a quiet run is called noisy:\n%s", text)
	}
	for i := range r.Closed {
		r.Closed[i].OtherCores = 0.7
	}
	if text := r.Text(); !strings.Contains(text, "NOISY: other work kept 0.70 processors busy.") {
		t.Errorf("a noisy run does not say so:\n%s", text)
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bench")
	want := sampleResults()
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "peers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got Results
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.Text() != want.Text() {
		t.Errorf("peers.json read back gives\n%s\nwant\n%s", got.Text(), want.Text())
	}
	page, err := os.ReadFile(filepath.Join(dir, "peers.html"))
	if err != nil || !strings.Contains(string(page), "P1: CPU per request, 1 KiB") || !strings.Contains(string(page), `class="ours"`) {
		t.Errorf("peers.html lacks its chart: %v", err)
	}
	config, err := os.ReadFile(filepath.Join(dir, "configs", "plain", "nginx", "nginx.conf"))
	if err != nil || string(config) != "user root;\n" {
		t.Errorf("the configuration is %q, %v", config, err)
	}
}

func TestHighRateComesFromNginx(t *testing.T) {
	got := rates(sampleResults())
	if len(got) != 2 || got[0].perSecond != 2000 || got[1].perSecond != 0.4*1e5 {
		t.Errorf("rates = %+v, want 2000/s and 40 %% of 100,000/s", got)
	}
	if got := rates(&Results{}); len(got) != 1 {
		t.Errorf("rates without nginx = %+v, want one", got)
	}
}

func TestRunRefusesBadOptions(t *testing.T) {
	good := Options{Subjects: []string{nginx}, Work: []string{workSmall}, Rounds: 1, Progress: io.Discard}
	for name, change := range map[string]func(*Options){
		"no rounds":       func(o *Options) { o.Rounds = 0 },
		"no work":         func(o *Options) { o.Work = nil },
		"unknown work":    func(o *Options) { o.Work = []string{"P99"} },
		"unknown subject": func(o *Options) { o.Subjects = []string{"traefik"} },
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			change(&o)
			if r, err := Run(t.Context(), o); err == nil || r == nil || len(r.Closed) != 0 {
				t.Errorf("Run = %+v, %v, want an error and empty results", r, err)
			}
		})
	}
}
