package breaker

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// epoch is when every test begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// transcript runs one breaker through the lines of a case. A ticket has a name; every line asserts:
//
//	admit NAME | probe NAME | refuse          what Ready and Admit must say
//	ok NAME | fail NAME | abandon NAME        settle; nobody is the zero Ticket
//	trip DURATION | half-open | close         evidence from elsewhere
//	wait DURATION                             move the clock, back if negative
//	is STATE | left DURATION
type transcript struct {
	*testing.T
	b       *Breaker
	now     time.Time
	tickets map[string]Ticket
	changes []string
}

func play(t *testing.T, s Settings, script string) *transcript {
	t.Helper()
	x := &transcript{T: t, now: epoch, tickets: map[string]Ticket{"nobody": {}}}
	x.b = New(s, func(c Change) { x.changes = append(x.changes, fmt.Sprintf("%s>%s:%s", c.From, c.To, c.Cause)) })
	for line := range strings.SplitSeq(script, ";") {
		verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		if wrong := x.step(verb, arg); wrong != "" {
			t.Fatalf("%s: %s", strings.TrimSpace(line), wrong)
		}
	}
	return x
}

func (x *transcript) step(verb, arg string) (wrong string) {
	switch verb {
	case "admit", "probe", "refuse":
		return x.ask(verb, arg)
	case "ok":
		x.b.Success(x.ticket(arg))
	case "fail":
		x.b.Failure(x.ticket(arg), x.now, "failure")
	case "abandon":
		x.b.Abandon(x.ticket(arg))
	case "trip":
		x.b.Trip(x.now, x.duration(arg), "trip")
	case "half-open":
		x.b.HalfOpen("evidence")
	case "close":
		x.b.Close("evidence")
	case "wait":
		x.now = x.now.Add(x.duration(arg))
	case "is":
		if got := x.b.State().String(); got != arg {
			return "is " + got
		}
	case "left":
		if got := x.b.Left(x.now); got != x.duration(arg) {
			return "left " + got.String()
		}
	default:
		return "no such verb"
	}
	return ""
}

func (x *transcript) ask(verb, name string) (wrong string) {
	before := len(x.changes)
	ready := x.b.Ready(x.now)
	if len(x.changes) != before {
		return "Ready changed the state"
	}
	ticket, ok := x.b.Admit(x.now)
	if ok != (verb != "refuse") || ok != ready || ticket.Probe() != (verb == "probe") {
		return fmt.Sprintf("ready %v, admitted %v, as a probe %v", ready, ok, ticket.Probe())
	}
	if x.tickets[name] = ticket; !ok && ticket != (Ticket{}) {
		return "refused with a ticket"
	}
	return ""
}

func (x *transcript) ticket(name string) Ticket {
	t, ok := x.tickets[name]
	if !ok {
		x.Fatalf("no ticket %s", name)
	}
	return t
}

func (x *transcript) duration(text string) time.Duration {
	if text == "for-ever" {
		return math.MaxInt64
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		x.Fatal(err)
	}
	return d
}

// Beginnings of scripts.
const (
	opened = "admit first; fail first; is open; " // with a failure-threshold of 1
	probed = opened + "wait 30s; "
)

// Changes that many cases have in common.
const (
	opens     = "closed>open:failure"
	halves    = "open>half_open:timeout"
	reopens   = "half_open>open:failure"
	recovers  = "half_open>closed:recovered"
	afterOpen = opens + " " + halves
)

func settings(failures, successes, halfOpen int) Settings {
	return Settings{failures, successes, halfOpen, 30 * time.Second}
}

type walk struct {
	name    string
	s       Settings
	script  string
	changes string
}

// closedCases is the first row of the table of spec 6.6.
var closedCases = []walk{
	{"admits any number", settings(1, 1, 1), "is closed; admit a; admit b; admit c; left 0s", ""},
	{"failures in a row open it", settings(3, 1, 1), "admit a; fail a; admit a; fail a; is closed; admit a; fail a; is open", opens},
	{"failures of requests at the same time count", settings(2, 1, 1), "admit a; admit b; fail a; fail b; is open", opens},
	{
		"a success clears the count", settings(2, 1, 1),
		"admit a; fail a; admit a; ok a; admit a; fail a; is closed; admit a; fail a; is open", opens,
	},
	{"a success without failures changes nothing", settings(1, 1, 1), "admit a; ok a; is closed; admit a; fail a; is open", opens},
	{"an abandoned request does not count", settings(2, 1, 1), "admit a; fail a; admit b; abandon b; is closed", ""},
	{"an abandoned request does not clear the count", settings(2, 1, 1), "admit a; fail a; admit b; abandon b; admit c; fail c; is open", opens},
	{"a ticket settled twice counts twice", settings(2, 1, 1), "admit a; fail a; fail a; is open", opens},
	{"time does not matter", settings(2, 1, 1), "admit a; fail a; wait 1000h; admit a; fail a; is open", opens},
}

// openCases is the second row.
var openCases = []walk{
	{"refuses until its time is over", settings(1, 1, 1), opened + "refuse; wait 29999999999ns; refuse; wait 1ns; probe p; is half_open", afterOpen},
	{"stays open until somebody asks", settings(1, 1, 1), opened + "wait 1000h; is open; left 0s; probe p", afterOpen},
	{"ignores successes", settings(1, 1, 1), "admit a; admit b; fail a; ok b; is open; refuse; left 30s", opens},
	{"failures do not prolong it", settings(1, 1, 1), "admit a; admit b; fail a; wait 20s; fail b; is open; left 10s", opens},
	{"counts its time from the failure", settings(1, 1, 1), "admit a; wait 7s; fail a; left 30s; wait 23s; left 7s; refuse", opens},
	{"a clock before the failure admits nothing", settings(1, 1, 1), opened + "wait -1s; refuse; left 30s; wait -100000h; refuse; left 30s", opens},
	{"a clock before the failure locks nobody out", settings(1, 1, 1), opened + "wait -1s; refuse; wait 30999ms; refuse; wait 1ms; probe p", afterOpen},
}

// halfOpenCases is the third row.
var halfOpenCases = []walk{
	{"the request that asked is the first probe", settings(1, 1, 1), probed + "probe p; refuse", afterOpen},
	{"takes an overdue slot back when it is needed", settings(1, 1, 1), probed + "probe p; wait 30s; refuse; wait 1ns; probe q; ok p; is half_open; ok q; is closed", afterOpen + " half_open>closed:recovered"},
	{"an overdue probe counts while nobody needs its slot", settings(1, 1, 1), probed + "probe p; wait 1h; ok p; is closed", afterOpen + " half_open>closed:recovered"},
	{"takes back only what is overdue", settings(1, 2, 2), probed + "probe p; wait 20s; probe q; wait 11s; probe r; refuse; fail p; is half_open; ok q; ok r; is closed", afterOpen + " half_open>closed:recovered"},
	{"admits as many at a time as it may", settings(1, 1, 3), probed + "probe p; probe q; probe r; refuse; left 0s", afterOpen},
	{"successes close it", settings(1, 2, 2), probed + "probe p; probe q; ok p; is half_open; ok q; is closed", afterOpen + " " + recovers},
	{"a success frees its slot", settings(1, 3, 1), probed + "probe p; ok p; probe q; refuse", afterOpen},
	{
		"more successes wanted than slots", settings(1, 3, 1),
		probed + "probe p; refuse; ok p; probe p; refuse; ok p; probe p; ok p; is closed; admit a", afterOpen + " " + recovers,
	},
	{"a failure opens it again, from now", settings(1, 2, 1), probed + "probe p; wait 7s; fail p; is open; left 30s; refuse", afterOpen + " " + reopens},
	{"one failure is enough", settings(5, 2, 1), "trip 1s; wait 1s; probe p; fail p; is open", "closed>open:trip " + halves + " " + reopens},
	{"an abandoned probe frees its slot", settings(1, 2, 1), probed + "probe p; abandon p; is half_open; probe p; refuse", afterOpen},
	{"an abandoned probe is no success", settings(1, 1, 1), probed + "probe p; abandon p; is half_open", afterOpen},
	{
		"successes before a failure do not count later", settings(1, 2, 1),
		probed + "probe p; ok p; probe p; fail p; wait 30s; probe p; ok p; is half_open", afterOpen + " " + reopens + " " + halves,
	},
	{
		"failures from before do not count once closed", settings(2, 1, 1),
		"admit a; fail a; admit a; fail a; wait 30s; probe p; ok p; admit a; fail a; is closed", afterOpen + " " + recovers,
	},
	{
		"a lost probe holds no slot of a later half-open", settings(1, 1, 2),
		probed + "probe lost; probe p; fail p; wait 30s; probe p; probe q; refuse", afterOpen + " " + reopens + " " + halves,
	},
	{"does not end by itself", settings(1, 1, 1), probed + "probe p; wait 30s; refuse; is half_open; abandon p; wait 1000h; is half_open; probe q", afterOpen},
}

// staleCases are outcomes that come too late, and tickets that were settled before.
var staleCases = []walk{
	{"closed, seen half-open: failure", settings(1, 1, 1), "admit old; " + probed + "fail old; is open; probe p; fail old; is half_open; refuse", afterOpen},
	{"closed, seen half-open: success", settings(1, 1, 1), "admit old; " + probed + "probe p; ok old; is half_open; refuse", afterOpen},
	{"closed, seen half-open: abandoned", settings(1, 1, 1), "admit old; " + probed + "probe p; abandon old; refuse", afterOpen},
	{
		"closed, seen closed again: failure", settings(1, 1, 1),
		"admit old; " + probed + "probe p; ok p; fail old; is closed", afterOpen + " " + recovers,
	},
	{
		"closed, seen closed again: success", settings(2, 1, 1),
		"admit old; trip 1s; wait 1s; probe p; ok p; admit a; fail a; ok old; admit a; fail a; is open",
		"closed>open:trip " + halves + " " + recovers + " " + opens,
	},
	{"probe, seen closed: failure", settings(1, 1, 2), probed + "probe p; probe q; ok p; is closed; fail q; is closed", afterOpen + " " + recovers},
	{
		"probe, seen closed: success", settings(2, 1, 2),
		"trip 1s; wait 1s; probe p; probe q; ok p; admit a; fail a; ok q; admit a; fail a; is open",
		"closed>open:trip " + halves + " " + recovers + " " + opens,
	},
	{"probe, seen open: failure", settings(1, 1, 2), probed + "probe p; probe q; fail p; wait 20s; fail q; left 10s", afterOpen + " " + reopens},
	{
		"probe, seen half-open again", settings(1, 1, 2),
		probed + "probe p; probe q; fail q; wait 30s; probe r; probe s; ok p; is half_open; abandon p; refuse; fail p; is half_open",
		afterOpen + " " + reopens + " " + halves,
	},
	{"a probe abandoned twice frees one slot", settings(1, 1, 2), probed + "probe p; probe q; abandon p; abandon p; probe r; refuse", afterOpen},
	{"a probe that succeeded twice counts once", settings(1, 2, 2), probed + "probe p; probe q; ok p; ok p; is half_open; probe r; refuse", afterOpen},
	{"a probe abandoned and then failed", settings(1, 1, 1), probed + "probe p; abandon p; fail p; is half_open; ok p; is half_open", afterOpen},
	{"nobody's ticket, closed", settings(1, 1, 1), "fail nobody; ok nobody; abandon nobody; is closed", ""},
	{"nobody's ticket does not clear the count", settings(2, 1, 1), "admit a; fail a; ok nobody; admit a; fail a; is open", opens},
	{"nobody's ticket, half-open", settings(1, 1, 1), probed + "probe p; ok nobody; fail nobody; abandon nobody; is half_open; refuse", afterOpen},
	{"nobody's ticket, open", settings(1, 1, 1), opened + "wait 1s; ok nobody; fail nobody; abandon nobody; left 29s", opens},
}

// evidenceCases are transitions that no request makes.
var evidenceCases = []walk{
	{"trip a closed one, for its own time", settings(5, 1, 1), "trip 5s; is open; left 5s; refuse; wait 5s; probe p", "closed>open:trip " + halves},
	{"trip makes earlier tickets stale", settings(1, 1, 1), "admit a; trip 5s; wait 1s; fail a; left 4s", "closed>open:trip"},
	{"trip a half-open one", settings(1, 1, 1), probed + "probe p; trip 5s; is open; left 5s; ok p; is open", afterOpen + " half_open>open:trip"},
	{"trip an open one", settings(1, 1, 1), opened + "trip 5s; left 30s; trip 1000h; left 30s", opens},
	{"trip for no time at all", settings(1, 1, 1), "trip 0s; is open; left 0s; probe p", "closed>open:trip " + halves},
	{"trip for less than no time", settings(1, 1, 1), "trip -5s; left 0s; probe p", "closed>open:trip " + halves},
	{"trip for ever", settings(1, 1, 1), "trip for-ever; wait 1000000h; refuse; wait -2000000h; refuse; left for-ever", "closed>open:trip"},
	{
		"the next failure is for the usual time", settings(1, 1, 1),
		"trip 5s; wait 5s; probe p; fail p; left 30s", "closed>open:trip " + halves + " " + reopens,
	},
	{"half-open an open one", settings(1, 1, 1), opened + "half-open; is half_open; left 0s; probe p; refuse", opens + " open>half_open:evidence"},
	{"half-open takes no slot", settings(1, 1, 2), opened + "half-open; probe p; probe q; refuse", opens + " open>half_open:evidence"},
	{"half-open a closed one", settings(2, 1, 1), "admit a; fail a; half-open; is closed; admit a; fail a; is open", opens},
	{"half-open a half-open one", settings(1, 2, 1), probed + "probe p; ok p; probe p; half-open; refuse; ok p; is closed", afterOpen + " " + recovers},
	{"close an open one", settings(1, 1, 1), opened + "close; is closed; left 0s; admit a; admit b", opens + " open>closed:evidence"},
	{
		"close a half-open one", settings(1, 1, 1),
		probed + "probe p; close; is closed; fail p; is closed; admit a", afterOpen + " half_open>closed:evidence",
	},
	{"close a closed one", settings(2, 1, 1), "admit a; fail a; close; fail a; is open", opens},
}

// settingsCases are settings that must not lock anybody out.
var settingsCases = []walk{
	{"nothing set", Settings{}, "admit a; fail a; is open; probe p; refuse; ok p; is closed", afterOpen + " " + recovers},
	{"all negative", Settings{-1, -1, -1, -1}, "admit a; fail a; is open; probe p; refuse; ok p; is closed", afterOpen + " " + recovers},
	{
		"all as large as can be",
		Settings{math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt64},
		"admit a; fail a; fail a; is closed; trip 1s; wait 1s; probe p; probe q; ok p; ok q; is half_open; probe p; fail p; left for-ever; half-open; probe p",
		"closed>open:trip " + halves + " " + reopens + " open>half_open:evidence",
	},
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	for group, cases := range map[string][]walk{
		"closed": closedCases, "open": openCases, "half-open": halfOpenCases, "stale": staleCases,
		"evidence": evidenceCases, "settings": settingsCases,
	} {
		for _, c := range cases {
			t.Run(group+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				x := play(t, c.s, c.script)
				if got := strings.Join(x.changes, " "); got != c.changes {
					t.Errorf("changes %q, want %q", got, c.changes)
				}
			})
		}
	}
}

func TestManyProbes(t *testing.T) {
	t.Parallel()
	const slots = 1000
	b := New(settings(1, slots+1, slots), nil)
	b.Trip(epoch, time.Second, "trip")
	var probes []Ticket
	for range slots {
		p, ok := b.Admit(epoch.Add(time.Second))
		if !ok || !p.Probe() || slices.Contains(probes, p) {
			t.Fatalf("probe %d: admitted %v, %+v", len(probes), ok, p)
		}
		probes = append(probes, p)
	}
	if _, ok := b.Admit(epoch.Add(time.Second)); ok {
		t.Error("one too many admitted")
	}
	for _, p := range probes {
		b.Success(p)
	}
	if n := len(b.probes); n != 0 || b.State() != HalfOpen {
		t.Errorf("%s with %d slots taken after all have succeeded, want half_open with 0", b.State(), n)
	}
	p, _ := b.Admit(epoch)
	if b.Success(p); b.State() != Closed {
		t.Errorf("%s after the last success, want closed", b.State())
	}
}

// TestLargestThreshold shows that the count of failures never spills into the state.
func TestLargestThreshold(t *testing.T) {
	t.Parallel()
	b := New(settings(math.MaxInt, 1, 1), nil)
	if uint64(b.threshold) != min(math.MaxInt, math.MaxUint32) {
		t.Fatalf("threshold %d", b.threshold)
	}
	a, _ := b.Admit(epoch)
	b.word.Add(uint64(b.threshold) - 2)
	if b.Failure(a, epoch, "failure"); b.State() != Closed || b.load().failures() != b.threshold-1 {
		t.Fatalf("%s with %d failures, want closed with %d", b.State(), b.load().failures(), b.threshold-1)
	}
	if b.Failure(a, epoch, "failure"); b.State() != Open || b.load().failures() != 0 {
		t.Errorf("%s with %d failures, want open with none", b.State(), b.load().failures())
	}
}

// TestGenerationsWrap shows that era 0, the zero Ticket's, is left out when the generations begin again.
func TestGenerationsWrap(t *testing.T) {
	t.Parallel()
	last := ^word(0)
	for _, to := range []State{Closed, Open, HalfOpen} {
		w := last.next(to)
		if w.state() != to || w.failures() != 0 || w.era()>>2 != 1 {
			t.Errorf("after the last generation: state %s, %d failures, generation %d; want %s, 0, 1", w.state(), w.failures(), w.era()>>2, to)
		}
		if v := w.next(Closed); v.era()>>2 != 2 || v.state() != Closed {
			t.Errorf("then: state %s, generation %d; want closed, 2", v.state(), v.era()>>2)
		}
	}
}

func TestStateNames(t *testing.T) {
	t.Parallel()
	for i, want := range []string{"closed", "open", "half_open"} {
		if got := State(i).String(); got != want {
			t.Errorf("State(%d) is %q, want %q", i, got, want)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	closed, open := New(settings(1000, 1, 1), nil), New(settings(1, 1, 1), nil)
	open.Trip(epoch, time.Second, "trip")
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"closed", func() { succeed(closed) }},
		{"closed with failures", func() {
			a, _ := closed.Admit(epoch)
			closed.Failure(a, epoch, "failure")
			succeed(closed)
		}},
		{"open", func() { open.Admit(epoch); open.Ready(epoch); open.Left(epoch) }},
	} {
		if n := testing.AllocsPerRun(1000, c.f); n != 0 {
			t.Errorf("%s: %v allocations, want 0", c.name, n)
		}
	}
}

func succeed(b *Breaker) {
	a, _ := b.Admit(epoch)
	b.Success(a)
}

// TestResume takes over every state, and shows that tickets of the old breaker mean nothing to the new one.
func TestResume(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := Settings{FailureThreshold: 3, SuccessThreshold: 2, HalfOpenMaxRequests: 1, Timeout: 10 * time.Second}
	told := 0
	resumed := func(from *Breaker) *Breaker {
		b := New(s, func(Change) { told++ })
		b.Resume(from)
		return b
	}
	old := New(s, nil)
	fail := func(b *Breaker) {
		ticket, ok := b.Admit(now)
		if !ok {
			t.Fatal("not admitted")
		}
		b.Failure(ticket, now, "x")
	}
	fail(old)
	fail(old)
	closed := resumed(old)
	if told != 0 || closed.State() != Closed {
		t.Fatalf("%d changes, %s", told, closed.State())
	}
	if fail(closed); closed.State() != Open {
		t.Error("the failures in a row were forgotten")
	}
	fail(old)
	now = now.Add(4 * time.Second)
	open := resumed(old)
	if got := open.Left(now); got != 6*time.Second {
		t.Errorf("%s left, want 6s", got)
	}
	now = now.Add(6 * time.Second)
	probe, ok := old.Admit(now)
	half := resumed(old)
	if !ok || half.State() != HalfOpen {
		t.Fatalf("half-open: %t %s", ok, half.State())
	}
	half.Failure(probe, now, "of another breaker")
	if half.State() != HalfOpen {
		t.Error("another breaker's probe was counted")
	}
	for range s.SuccessThreshold {
		ticket, ok := half.Admit(now)
		if !ok {
			t.Fatal("a slot of the other breaker's probe is missing here")
		}
		half.Success(ticket)
	}
	if half.State() != Closed {
		t.Errorf("%s after enough successes", half.State())
	}
}
