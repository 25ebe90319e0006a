package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/sentinel-proxy/sentinel-go/loadgen/stat"
)

// The subjects of an agents run: Sentinel without an agent, and with one in each dialect.
const (
	alone    = "alone"
	agentV1  = "v1"
	agentV2D = "v2d"
	agentV2R = "v2r"
	agentG2  = "g2"
)

// workAgents is P1's load with an access log, metrics and perhaps an agent.
const workAgents = "P8"

// AgentOptions says what MeasureAgents runs and for how long.
type AgentOptions struct {
	Rounds   int           // at least 1; in each round every subject has its turn, in a random order
	Duration time.Duration // of one measured load; whole seconds
	Procs    int           // GOMAXPROCS of the proxies, not of the agents; 0: as they come
	Seed     uint64        // of the order
	Sentinel string        // the binary
	Agent    string        // the agent's, which takes the flags of sentinel/agent/example
	Progress io.Writer     // one line per measurement
}

// Agents is what an agent on the route costs, round by round.
type Agents struct{ results *Results }

// MeasureAgents runs Sentinel without an agent and with one in each dialect, in the closed loop and at the low rate,
// and compares what it finds with the gates. When a run breaks off, the error comes with the rounds before it.
func MeasureAgents(ctx context.Context, o AgentOptions) (*Agents, error) {
	if o.Rounds < 1 || o.Procs < 0 {
		return &Agents{results: &Results{}}, fmt.Errorf("nothing to measure: %d rounds, %d processors", o.Rounds, o.Procs)
	}
	options := Options{
		Rounds: o.Rounds, Duration: o.Duration, Seed: o.Seed, Programs: Programs{Sentinel: o.Sentinel}, Progress: o.Progress,
	}
	b := &bench{Options: options, subjects: agentSubjects(o), results: newResults(ctx, options)}
	delete(b.results.Versions, haproxy) // neither is here
	delete(b.results.Versions, caddy)
	err := b.inDirectory(ctx, b.measureAgents)
	b.results.Gates = judgeAgents(b.results)
	return &Agents{results: b.results}, err
}

// agentSubjects returns the one without an agent first.
func agentSubjects(o AgentOptions) []subject {
	base := subject{name: alone, template: "sentinel.kdl", program: o.Sentinel, args: []string{"--config"}}
	if o.Procs > 0 {
		base.env = []string{"GOMAXPROCS=" + strconv.Itoa(o.Procs)}
	}
	all := []subject{base}
	for _, d := range dialects {
		s := base
		s.name, s.agent = d.name, &agentProgram{dialect: d, program: o.Agent}
		all = append(all, s)
	}
	return all
}

// measureAgents starts every process anew for each round, so that none is lucky in all of them.
func (b *bench) measureAgents(ctx context.Context) error {
	for round := range b.Rounds {
		if err := b.agentRound(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return nil
}

func (b *bench) agentRound(ctx context.Context, round int) error {
	f, err := b.startFleet(ctx, "round-"+strconv.Itoa(round+1), true)
	if err != nil {
		return err
	}
	defer f.stop()
	if err := b.fixedRound(ctx, f, low(), round); err != nil {
		return err
	}
	return b.closedRound(ctx, f, []load{{work: workAgents, path: smallPath}}, round)
}

var agentLimits = []limit{
	{id: "P8", work: "p50 added by an agent, " + low().name, unit: "µs", must: 150, aim: 60, values: added(fixedP50)},
	{
		id: "P8", work: "requests per second with it, closed loop", unit: "/s", must: 15000, aim: 35000, atLeast: true,
		values: func(r *Results, subject string) []float64 { return r.closed(workAgents, subject, requestsPerSecond) },
	},
}

// judgeAgents compares what was measured with the gates.
func judgeAgents(r *Results) []Gate {
	var gates []Gate
	for _, l := range agentLimits {
		for _, d := range dialects {
			if values := l.values(r, d.name); len(values) > 0 {
				gates = append(gates, l.gate(values, d.name, d.decides))
			}
		}
	}
	return gates
}

// added returns by how much a figure of the low rate exceeds that of the same round without an agent.
func added(figure func(FixedSample) float64) func(*Results, string) []float64 {
	return func(r *Results, subject string) []float64 {
		ours, theirs := r.fixed(low().name, subject, figure), r.fixed(low().name, alone, figure)
		if len(ours) != len(theirs) {
			return nil // the run broke off in the middle of a round
		}
		more := slices.Clone(ours)
		for i := range more {
			more[i] -= theirs[i]
		}
		return more
	}
}

// median returns the median of a figure; 0 when it was not measured.
func median(values []float64) float64 { return stat.Summarize(values).Median }

// Failure returns an error when a gate that decides was missed, or when none was measured at all.
func (a *Agents) Failure() error { return a.results.Failure() }

// Write puts every sample, the gates and the configurations into the file agents.json of dir.
func (a *Agents) Write(dir string) error {
	data, err := json.MarshalIndent(a.results, "", "  ")
	if err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	return writeFile(filepath.Join(dir, "agents.json"), append(data, '\n'))
}
