// Package peers measures Sentinel beside nginx, HAProxy and Caddy on one machine and holds it to its performance gates.
//
// Every subject gets the same work from the same generator and forwards it to the same origin, with equivalent
// configurations (the templates under configs). What decides is never a figure alone but the ratio between two subjects
// in the same round; the median over all rounds is compared with the gate.
//
// A run goes through these steps, each of which starts the processes it needs and ends them:
//
//   - closed loop, 1 KiB and 64 KiB answers, access log off (P1, P2, P4): closed.go
//   - closed loop, 1 KiB, access log and metrics on (P3): closed.go
//   - fixed rates, latency from the moment a request was due: fixed.go
//   - memory per idle connection (P9): memory.go
//   - route look-up (P7), from the benchmarks beside the routing code: routes.go
//
// gates.go compares the figures with what must be reached; page.go and results.go write them down.
//
// cost.go uses the closed loop for another question: what looking after the upstream costs Sentinel, in pairs of one
// binary with and without it.
//
// agents.go uses the closed loop and a fixed rate for a third: what an agent on the route costs, in each dialect of its
// protocol, beside the same binary without one (P8). agent.go starts the agents, agents_text.go prints the outcome.
package peers
