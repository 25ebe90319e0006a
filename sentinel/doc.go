// Package sentinel is a security-first HTTP reverse proxy. New reads a configuration and binds its
// listeners, Run serves until its context is done. Inspect reads a configuration without serving it.
//
// # Words
//
// Listener, route, upstream, target, filter and agent are what the configuration calls so. Downstream is
// the client's side, upstream the target's. An exchange is one request and its answer. A Reason is why
// an exchange was no plain relay. A snapshot is everything one configuration yields. A tick is a step of
// the sweeper's clock, 100 ms.
//
// # The life of a request
//
//  1. listener.go accepts a connection and starts its goroutine; announce.go learns from a load balancer whose
//     it is; conn.go parks it until bytes come.
//  2. conn.go takes an exchange from freelist.go, reads into its buffer and has internal/wire parse the
//     head. What is malformed is answered at once, and the connection ends.
//  3. exchange.go: serve is the whole life in one function. begin starts the clock and settles the
//     trace id, trust.go finds the client behind trusted proxies.
//  4. admit.go refuses what no route may see.
//  5. exchange.go: match asks the listener's view in snapshot.go, which asks internal/route; then
//     admit.go applies the route's limits and its encoded-slash rule.
//     filters.go puts the filters in place that look at bodies: compress.go encodes answers, witness.go writes down
//     what passes, without what redact.go takes for a secret. cors.go answers preflights, and says who may read answers.
//  6. limits.go says whether the request may go on now: memory.go, rates.go, then places among the requests of its
//     route and of all; it may have to wait.
//  7. consult.go asks the route's agents about the head, all at once; counsel.go keeps what they say until the
//     exchange ends, ops.go makes the changes they want.
//  8. handle: builtin.go, builtin_config.go, builtin_upstreams.go and builtin_agents.go answer here, or forward.go offers the
//     request to targets. Before that, screen_request.go shows the body to the agents that want to see it: screen.go
//     is the way of a body past agents, decode.go undoes its encoding for them. buffer.go reads whole bodies ahead
//     where a route wants that. An attempt is: a target that
//     internal/upstream chose, a connection to it, the head that edit.go built, one round trip; upload.go feeds a
//     body that is still coming, from a goroutine of its own. retry.go says whether another attempt may follow.
//  9. relay.go passes the answer on piece by piece, splice.go inside the kernel, tunnel.go both ways.
//     review.go shows it to the route's agents first. downstream.go writes it.
//  10. refuse.go is the one place that answers for a Reason. Once a byte of an answer has left, all it can
//     do is cut.
//  11. record.go writes the access line, the metrics and what else the Reason calls for; record_agent.go what
//     agents did. The exchange is reset for the next request, or goes back to the free list when the connection
//     parks.
//
// Beside that path: reason.go lists the Reasons; proxy.go builds, runs and drains; snapshot.go compiles
// a configuration, pools.go its upstreams and breakers, agents.go its agents; events.go tells the logs what
// becomes of those; reload.go makes another configuration the one that is served, reload_life.go says when it may, adopt.go finds what it leaves as
// it is, retire.go ends what it dropped, autoreload.go watches the files; admin.go answers `sentinel status` and
// `sentinel reload`; tls.go loads certificates; logs.go opens logs, notes.go
// brings lines to the process's own without waiting for it; demo.go is the upstream of the embedded
// default; process.go says what a configuration asks of the process; sweeper.go and watch.go keep time; inspect.go, validate.go,
// validate_certs.go, problem.go and pending.go serve the
// command line, the last also the start; agent_check.go asks an agent for it, agent_report.go says what came.
//
// # Invariants
//
//   - Every exchange that begins is recorded once.
//   - Nothing is sent to the client but by downstream.go, splice.go and tunnel.go (compress.go and witness.go stand before the first), and no step answers a
//     Reason but through refuse.go.
//   - Nothing of a request is sent twice unless its Reason's retry rule allows that.
//   - What an exchange takes of the limits is given back once, at its end.
//   - A claim on a target is given back once, whatever happens, after its connection.
//   - An upstream connection goes back to its pool only after a complete answer with nothing behind it.
//   - What an agent did not clearly allow is not allowed, unless its failure mode is open.
//   - An exchange takes its route from one snapshot, and holds the route, not the snapshot; a snapshot never changes.
//   - What a reload drops is closed only once no connection says that it serves a route that uses it. A connection
//     says so before it looks again whether the snapshot is still the one that is served.
//   - Every wait for a peer is entered in a watch, so that the sweeper can end it.
//   - A connection is removed from the sweeper before its descriptor is closed, so that no other gets
//     polled in its place.
//
// # Who owns which goroutine
//
//	socket.accept      one for each bound address; ends when the socket is closed
//	Proxy.reloadAll    one while reloads are asked for
//	Proxy.drainRetired one for each reload that dropped something, until nobody uses that
//	Proxy.watch        one while the proxy serves a configuration from files; reloads when they change
//	conn.serve         one for each client connection; owns the connection, its exchange and the upstream
//	                   connection in use; ends with the connection
//	uploadBody         one while a request body streams; reads the client, writes the upstream; ends with
//	                   the body, and its exchange waits for that
//	askBeside          one for each agent but the first that is asked about one head; ends with its verdict, and
//	                   the exchange waits for that
//	agents.Agent       those of each agent's connections; end with Close
//	tunnelUp           one for each upgraded connection; ends with its direction, and its exchange waits
//	sweeper.run        one; reads watches, marks and wakes; ends with the proxy
//	events.run         one; writes changes of upstreams to the logs; ends when the proxy has
//	notes.run          two; one writes what log filters note to the log, one what goroutines say that must not
//	                   wait for it; end when the proxy has
//	upstream.Pool      one for each probed target and one for its names; end with Close
//	Proxy.drain        one while the proxy ends, waiting for the connections
//	debug.FreeOSMemory one now and then, after a burst
//	telemetry.Writer   one for each log; ends with Close
//	http.Server        those of the metrics endpoint, the admin socket and the demo; end with Close
package sentinel
