package peers

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// What runs without an agent is Sentinel as bench-peers knows it, and what runs with one differs in nothing else.
func TestAgentSubjects(t *testing.T) {
	all := subjects(Programs{Sentinel: "proxy"})
	base := all[slices.IndexFunc(all, func(s subject) bool { return s.name == sentinel })]
	base.name = alone
	got := agentSubjects(AgentOptions{Sentinel: "proxy", Agent: "agent"})
	if !reflect.DeepEqual(got[0], base) {
		t.Errorf("without an agent it is %+v, want %+v", got[0], base)
	}
	if names := []string{got[1].name, got[2].name, got[3].name, got[4].name}; !slices.Equal(names, []string{"v1", "v2d", "v2r", "g2"}) || len(got) != 5 {
		t.Errorf("the dialects are %v", names)
	}
	for _, s := range got[1:] {
		if s.agent == nil || s.agent.name != s.name || s.agent.program != "agent" {
			t.Errorf("%s has the agent %+v", s.name, s.agent)
		}
		s.name, s.agent = alone, nil
		if !reflect.DeepEqual(s, base) {
			t.Errorf("apart from its agent it is %+v, want %+v", s, base)
		}
	}
	for _, s := range agentSubjects(AgentOptions{Procs: 2}) {
		if !slices.Equal(s.env, []string{"GOMAXPROCS=2"}) {
			t.Errorf("%s has the environment %v", s.name, s.env)
		}
	}
}

func TestAgentConfigAddsTheAgent(t *testing.T) {
	plain, err := render("sentinel.kdl", testSetup)
	if err != nil {
		t.Fatal(err)
	}
	asking := testSetup
	asking.Agent = `unix-socket "/directory/a.sock"`
	text, err := render("sentinel.kdl", asking)
	if err != nil {
		t.Fatal(err)
	}
	agents := "agents {\n\tagent \"example\" {\n\t\tunix-socket \"/directory/a.sock\"\n\t}\n}\n"
	route := "\t\tagents \"example\"\n"
	if strings.Count(text, agents) != 1 || strings.Count(text, route) != 1 {
		t.Fatalf("the agent is not there, or not on the route:\n%s", text)
	}
	if rest := strings.Replace(strings.Replace(text, agents, "", 1), route, "", 1); rest != plain {
		t.Errorf("apart from the agent it is\n%s\nwant\n%s", rest, plain)
	}
}

// agentRounds makes samples of one subject from a p50 and requests per second for each round.
func agentRounds(subject string, figures ...[2]float64) (r Results) {
	for round, f := range figures {
		r.Fixed = append(r.Fixed, FixedSample{Rate: "2000/s", Subject: subject, Round: round, P50Micros: f[0], P99Micros: 3 * f[0]})
		r.Closed = append(r.Closed, ClosedSample{
			Work: workAgents, Subject: subject, Round: round, RequestsPerSecond: f[1], CPUMicros: 40, AgentMicros: 12.5, P99Micros: 900,
		})
	}
	return r
}

func agentsOf(parts ...Results) *Agents {
	r := &Results{Machine: "machine", Rounds: 3, Seconds: 4, Versions: map[string]string{}}
	for _, p := range parts {
		r.Fixed, r.Closed = append(r.Fixed, p.Fixed...), append(r.Closed, p.Closed...)
	}
	r.Gates = judgeAgents(r)
	return &Agents{results: r}
}

// without is a machine that was twice as slow in its second round.
var without = agentRounds(alone, [2]float64{100, 50e3}, [2]float64{200, 25e3}, [2]float64{100, 50e3})

func TestAgentGates(t *testing.T) {
	tests := []struct {
		name    string
		subject string
		rounds  [][2]float64
		added   Verdict
		rate    Verdict
		fails   bool
	}{
		{"both aims", agentV1, [][2]float64{{160, 35e3}, {260, 35e3}, {160, 35e3}}, Aim, Aim, false},
		{"both gates", agentV2D, [][2]float64{{250, 15e3}, {350, 15e3}, {250, 15e3}}, Pass, Pass, false},
		{"too much is added", agentV2D, [][2]float64{{251, 15e3}, {351, 15e3}, {251, 15e3}}, Miss, Pass, true},
		{"too few requests", agentV1, [][2]float64{{160, 14999}, {260, 14999}, {160, 14999}}, Aim, Miss, true},
		{"the median counts", agentV1, [][2]float64{{160, 40e3}, {9000, 40e3}, {160, 1}}, Aim, Aim, false},
		{"the difference is that of the round", agentV1, [][2]float64{{260, 40e3}, {260, 40e3}, {260, 40e3}}, Miss, Aim, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := agentsOf(without, agentRounds(tt.subject, tt.rounds...))
			more, rate := gate(t, a.results.Gates, "P8", "µs", tt.subject), gate(t, a.results.Gates, "P8", "/s", tt.subject)
			if more.Verdict != tt.added || rate.Verdict != tt.rate || !more.Decides || !rate.Decides {
				t.Errorf("gates are %+v and %+v, want %s and %s", more, rate, tt.added, tt.rate)
			}
			if err := a.Failure(); (err != nil) != tt.fails {
				t.Errorf("Failure() = %v", err)
			}
		})
	}
}

// V2R and G2 are reported; without a dialect that decides there is no verdict at all.
func TestAgentGatesForInformation(t *testing.T) {
	slow := [][2]float64{{9000, 1}, {9000, 1}, {9000, 1}}
	informed := []Results{without, agentRounds(agentV2R, slow...), agentRounds(agentG2, slow...)}
	if err := agentsOf(append(informed, agentRounds(agentV1, adding(60)...))...).Failure(); err != nil {
		t.Errorf("Failure() = %v although only V1 decides here", err)
	}
	if err := agentsOf(informed...).Failure(); err == nil {
		t.Error("no error although no gate was measured")
	}
}

// adding is what a subject measures that adds so many µs.
func adding(more float64) (rounds [][2]float64) {
	for i, s := range without.Fixed {
		rounds = append(rounds, [2]float64{s.P50Micros + more, without.Closed[i].RequestsPerSecond})
	}
	return rounds
}

// A round that broke off compares with nothing.
func TestAddedNeedsWholeRounds(t *testing.T) {
	a := agentsOf(without, agentRounds(agentV1, [2]float64{160, 40e3}))
	if got := added(fixedP50)(a.results, agentV1); got != nil {
		t.Errorf("added = %v, want nothing", got)
	}
	if got := gate(t, a.results.Gates, "P8", "/s", agentV1); got.Measured.Rounds != 1 || len(a.results.Gates) != 1 {
		t.Errorf("gates are %+v, want that of the requests alone", a.results.Gates)
	}
}

func TestAgentsText(t *testing.T) {
	text := agentsOf(without, agentRounds(agentV2D, [2]float64{180, 20e3}, [2]float64{290, 10e3}, [2]float64{200, 21e3})).Text()
	for _, want := range []string{
		"At 2000 requests/s, µs\nAgent     p50  p99  Added p50",
		"no agent  100  300          -            -          -           -\n",
		"V2D       200  600       90.0  80.0 to 100        270  240 to 300\n",
		"Agent CPU µs/request",
		"V2D            20000  10000 to 21000                  40.0                  12.5     900",
		"P8  p50 added by an agent, 2000/s",
		"<= 150   <= 60.0  pass",
		">= 15000  >= 35000  pass",
		"Medians of 3 rounds of 4 s, machine. In brackets: for information.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "V2R") {
		t.Errorf("the text has a row of what was not measured:\n%s", text)
	}
	if text := agentsOf().Text(); text != "" {
		t.Errorf("the text of nothing is %q", text)
	}
}

func TestAgentsWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bench")
	want := agentsOf(without, agentRounds(agentV1, adding(60)...))
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "agents.json"))
	if err != nil {
		t.Fatal(err)
	}
	got := Agents{results: &Results{}}
	if err := json.Unmarshal(data, got.results); err != nil {
		t.Fatal(err)
	}
	if got.Text() != want.Text() || strings.Contains(string(data), "route_lookup") {
		t.Errorf("agents.json read back gives\n%s\nwant\n%s", got.Text(), want.Text())
	}
}

func TestMeasureAgentsRefusesBadOptions(t *testing.T) {
	for name, o := range map[string]AgentOptions{"no rounds": {}, "negative processors": {Rounds: 1, Procs: -1}} {
		t.Run(name, func(t *testing.T) {
			o.Progress = io.Discard
			if a, err := MeasureAgents(t.Context(), o); err == nil || !strings.Contains(err.Error(), "nothing to measure") || a.Text() != "" {
				t.Errorf("MeasureAgents = %+v, %v, want it to refuse", a, err)
			}
		})
	}
}

func TestAgentStartAndStop(t *testing.T) {
	t.Setenv(roleVariable, "agent")
	dir := t.TempDir()
	a := &agentProgram{dialect: dialects[0], program: os.Args[0]}
	st := setup{Dir: dir}
	p, err := a.start(t.Context(), &st)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "agent", "a.sock")
	if st.Agent != `unix-socket "`+socket+`"` {
		t.Errorf("the proxy is told %q", st.Agent)
	}
	if err := knock(t.Context(), "unix", socket); err != nil {
		t.Errorf("it does not listen: %v", err)
	}
	p.stop()
	if err := knock(t.Context(), "unix", socket); err == nil {
		t.Error("it listens after stop")
	}
}

func TestAgentThatEndsAtOnce(t *testing.T) {
	t.Setenv(roleVariable, "agent")
	a := &agentProgram{dialect: dialects[0], program: os.Args[0]}
	st := setup{Dir: filepath.Join(t.TempDir(), strings.Repeat("too-long-for-a-socket", 6))}
	if _, err := a.start(t.Context(), &st); err == nil || !strings.Contains(err.Error(), "the agent of v1") {
		t.Errorf("start = %v, want an error that names the agent", err)
	}
}

func TestCheckAgent(t *testing.T) {
	tests := []struct {
		name   string
		status int
		asks   *process
		fails  bool
	}{
		{"the agent decides", http.StatusForbidden, &process{}, false},
		{"the agent is not asked", http.StatusNotFound, &process{}, true},
		{"the agent fails", http.StatusServiceUnavailable, &process{}, true},
		{"no agent", http.StatusNotFound, nil, false},
		{"an agent that should not be there", http.StatusForbidden, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tt.status) }))
			defer server.Close()
			p := &process{setup: setup{Listen: netip.MustParseAddrPort(server.Listener.Addr().String())}, asks: tt.asks}
			if err := checkAgent(t.Context(), p); (err != nil) != tt.fails {
				t.Errorf("checkAgent = %v", err)
			}
		})
	}
}
