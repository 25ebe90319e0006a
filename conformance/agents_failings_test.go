package conformance

import (
	"compress/gzip"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// failing is a way in which an agent fails, and what comes of it. In closed mode the client gets the Reason's
// status, in open mode the request passes as if there were no agent.
type failing struct {
	name     string
	class    string          // the row of the documentation's table; empty: nobody notices anything
	dialects []rogue.Dialect // nil: all
	phases   []rogue.Kind    // nil: all
	limits   string          // of the configuration
	settings string          // of the agent
	filter   string          // of the filter
	coding   string          // of the phase's body
	body     string          // of the phase, if it is not the usual one
	spoil    func(testing.TB, *trial)
	reason   string // in closed mode, in a request phase
	kind     string // the label of the agent's failure; empty: none is counted
	restart  bool   // the agent has to be started again before it does well
	unasked  bool   // the agent never gets to know of the question at which it fails
	alone    bool   // the agent has one connection
	spoiled  int    // requests beside whose answers are no verdicts
	occupied int    // requests beside that are blocked after all
}

// well reports whether nobody notices anything.
func (f *failing) well() bool { return f.class == "" }

// The Reasons, and what they make of a request.
var agentStatus = map[string]int{
	"agent_unavailable": 503, "agent_timeout": 504, "agent_bad_reply": 503, "agent_breaker_open": 503, "agent_busy": 503,
	"agent_body_too_large": 413, "agent_encoding": 400, "agent_response_failed": 502,
}

// The classes of failures: the first column of the documentation's table.
const (
	classAbsent   = "nothing listens at the socket, or it is missing"
	classRefused  = "the agent refused the handshake or its `config`"
	classDied     = "the agent died while it was asked"
	classSlow     = "no verdict within `timeout-ms`, waiting for a turn included"
	classLate     = "a verdict that came too late"
	classHalf     = "half a frame, then the end"
	classLength   = "a frame of an impossible length"
	classGarbage  = "garbage, invalid JSON"
	classDecision = "no decision, two, or one that is unknown"
	classUnparsed = "\"I could not parse your question\" (request id 0)"
	classUnasked  = "a reply to a question nobody asked, and no other"
	classBreaker  = "its circuit breaker is open"
	classBusy     = "`max-concurrent-calls` are under way, `max-agent-queue-depth` wait"
	classTooLarge = "the body is larger than the agent may see"
	classEncoding = "the body cannot be decoded for the agent"
)

// Times that an agent has: too long to matter, and short enough to wait for.
const (
	longTime  = "timeout-ms 20000; circuit-breaker { failure-threshold 1000000 }"
	shortTime = "timeout-ms 1000" // of the filter: connecting may take longer
)

// The trials of an agent that is left alone after two failures, and of one that takes one call at a time.
const (
	tripping = "timeout-ms 20000; circuit-breaker { failure-threshold 2; timeout-seconds 600 }"
	oneCall  = longTime + "; max-concurrent-calls 1"
)

// by returns the spoiling that makes the agent act in the trial's phase.
func by(a rogue.Act) func(testing.TB, *trial) {
	return func(_ testing.TB, tr *trial) { tr.fake.Set(rogue.Only(tr.phase, a)) }
}

func wrong(f rogue.Fault) func(testing.TB, *trial) { return by(rogue.Act{Fault: f}) }

func decides(decision string) func(testing.TB, *trial) {
	return by(rogue.Act{Answer: rogue.Answer{Decision: decision}})
}

// comesBack makes the agent die and come back as one that does not get past a kind of event.
func comesBack(kind rogue.Kind, a rogue.Act) func(testing.TB, *trial) {
	return func(t testing.TB, tr *trial) {
		before := tr.fake.Stats().Events[kind]
		tr.reborn(t, rogue.Only(kind, a))
		must(t, tr.fake, func(s rogue.Stats) bool { return s.Events[kind] > before })
	}
}

// nothing is done where the configuration or the bodies are wrong already.
func nothing(testing.TB, *trial) {}

var v2 = []rogue.Dialect{rogue.V2D, rogue.V2R}

// failings lists them.
func failings(t testing.TB) []failing {
	rows := slices.Concat(lost(), tooSlow(), unreadable(), unasked(), undecodable(t))
	harmless := failing{settings: longTime}
	return append(rows,
		harmless.row("two answers", wrong(rogue.Twice())).in(v2...),
		harmless.row("drips fast", wrong(rogue.Drip(time.Microsecond))),
		harmless.row("1 MiB of verdict", wrong(rogue.Giant(1<<20))),
	)
}

// lost are those of an agent that is not there.
func lost() []failing {
	lost := failing{settings: longTime, reason: "agent_unavailable", kind: "unavailable", class: classAbsent}
	no := rogue.Act{Answer: rogue.Answer{Refuse: "I will not"}}
	configured := lost
	configured.settings += `; config { level "high" }`
	return []failing{
		lost.row("nothing listens", func(_ testing.TB, tr *trial) { tr.fake.Kill() }).again(),
		lost.row("no socket", func(_ testing.TB, tr *trial) { _ = tr.fake.Remove() }).again(), // an error shows when it starts again
		lost.row("dies when asked", wrong(rogue.Close())).as(classDied),
		lost.row("refuses the handshake", comesBack(rogue.Handshake, no)).as(classRefused).in(v2...).again(),
		lost.row("another version", comesBack(rogue.Handshake, rogue.Act{Fault: rogue.OtherVersion()})).as(classRefused).in(v2...).again(),
		configured.row("refuses its config", comesBack(rogue.Configure, no)).as(classRefused).in(rogue.V1, rogue.V2R).again(),
	}
}

// tooSlow are those of an agent that takes too long.
func tooSlow() []failing {
	slow := failing{settings: longTime, filter: shortTime, reason: "agent_timeout", kind: "timeout", class: classSlow}
	taken := slow
	taken.settings, taken.alone, taken.unasked, taken.occupied = oneCall, true, true, 1
	return []failing{
		slow.row("takes no connection", func(t testing.TB, tr *trial) {
			tr.fake.Kill()
			tr.fake.SetDoor(rogue.Ignore)
			_ = tr.fake.Restart() // an error shows in that nobody comes
			must(t, tr.fake, func(s rogue.Stats) bool { return s.Open > 0 })
		}).only(rogue.RequestHeaders).again(),
		slow.row("hangs", wrong(rogue.Hang())).again(),
		slow.row("half a frame, then hangs", wrong(rogue.HalfThenHang())).again(),
		slow.row("drips", wrong(rogue.Drip(time.Second))).again(),
		taken.row("busy with another", func(t testing.TB, tr *trial) { tr.occupy(t, 0) }),
		slow.row("late", by(rogue.Act{Delay: 1500 * time.Millisecond})).as(classLate),
		slow.row("late, before the next answer", wrong(rogue.Postpone())).as(classLate),
		slow.row("wrong id", wrong(rogue.WrongID())).as(classUnasked).in(v2...),
	}
}

// unreadable are those of an agent whose answer is no verdict.
func unreadable() []failing {
	nonsense := failing{settings: longTime, reason: "agent_bad_reply", kind: "bad_reply", class: classGarbage}
	rows := []failing{
		nonsense.row("half a frame, then closes", wrong(rogue.HalfThenClose())).as(classHalf),
		nonsense.row("id 0", wrong(rogue.ZeroID())).as(classUnparsed).in(rogue.V2D),
		nonsense.row("no id", wrong(rogue.NoID())).in(v2...),
		nonsense.row("another type", wrong(rogue.Type(0x7F))).in(v2...),
		nonsense.row("empty payload", wrong(rogue.Payload("", ""))).in(v2...),
		nonsense.row("no decision", decides(rogue.Missing)).as(classDecision),
		nonsense.row("two decisions", decides(`{"allow":{},"block":{"status":403}}`)).as(classDecision),
		nonsense.row("unknown decision", decides(`"perhaps"`)).as(classDecision),
	}
	for _, n := range []uint32{0, 1<<32 - 1, 16<<20 + 1} {
		rows = append(rows, nonsense.row(fmt.Sprintf("length %d", n), wrong(rogue.Length(n))).as(classLength))
	}
	for _, f := range []rogue.Fault{
		rogue.Garbage(), rogue.Truncated(), rogue.Trailing(), rogue.Payload("JSON list", "[]"), rogue.Payload("JSON text", `"allow"`),
		rogue.Payload("no JSON", "allow"), rogue.Payload("invalid UTF-8", "{\"decision\":\"\xff\"}"), rogue.Deep(100_000),
	} {
		rows = append(rows, nonsense.row(f.String(), wrong(f)))
	}
	return rows
}

// unasked are those where the agent is not asked at all.
func unasked() []failing {
	open := failing{
		settings: tripping, reason: "agent_breaker_open", kind: "breaker_open", class: classBreaker, restart: true, unasked: true, spoiled: 2,
	}
	busy := failing{
		settings: oneCall, limits: "limits { max-agent-queue-depth 1 }\n", reason: "agent_busy", kind: "busy", class: classBusy,
		alone: true, unasked: true, occupied: 2,
	}
	large := failing{reason: "agent_body_too_large", class: classTooLarge, unasked: true}
	large.settings = longTime + "; max-request-body-bytes 4"
	answer := large
	answer.settings = longTime + "; max-response-body-bytes 4"
	return []failing{
		open.row("breaker open", func(t testing.TB, tr *trial) { tr.trip(t, 2) }),
		busy.row("line full", func(t testing.TB, tr *trial) { tr.occupy(t, 1) }),
		large.row("body over the limit", nothing).only(rogue.RequestBody),
		answer.row("answer over the limit", nothing).only(rogue.ResponseBody),
	}
}

// undecodable are those where a body cannot be decoded for the agent.
func undecodable(t testing.TB) (rows []failing) {
	bomb := packed(t, strings.Repeat("x", 900_000))
	for _, c := range []struct{ name, coding, body string }{
		{"gzip of nonsense", "gzip", "this is no gzip"},
		{"gzip without its end", "gzip", packed(t, fruit)[:20]},
		{"deflate of nonsense", "deflate", "\xff\xff\xff\xff"},
		{"brotli of nonsense", "br", "\xff\xff\xff\xff"},
		{"unknown coding", "compress", seeds},
		{"decompression bomb", "gzip", bomb},
	} {
		coded := failing{
			settings: longTime, reason: "agent_encoding", class: classEncoding, coding: c.coding, body: c.body, unasked: true,
		}
		rows = append(rows, coded.row(c.name, nothing).only(rogue.RequestBody, rogue.ResponseBody))
	}
	return rows
}

// packed returns text in gzip.
func packed(t testing.TB, text string) string {
	t.Helper()
	var out strings.Builder
	w := gzip.NewWriter(&out)
	_, err := w.Write([]byte(text))
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (f failing) row(name string, spoil func(testing.TB, *trial)) failing {
	f.name, f.spoil = name, spoil
	return f
}

func (f failing) as(class string) failing           { f.class = class; return f }
func (f failing) in(d ...rogue.Dialect) failing     { f.dialects = d; return f }
func (f failing) only(phases ...rogue.Kind) failing { f.phases = phases; return f }
func (f failing) again() failing                    { f.restart = true; return f }
