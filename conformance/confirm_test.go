package conformance

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures"
)

var (
	reference     = flag.String("ref", "", "address of another proxy for TestConfirm")
	referenceName = flag.String("ref-name", "", "its name in the vectors' differs lines; empty: the product in its Server field")
	originAddr    = flag.String("origin", "", "where the reference forwards to: the scripted upstream listens there")
)

// target is the proxy TestConfirm compares with.
type target struct {
	name, addr string
	o          *origin
}

// newTarget is the reference of the command line. With none given it is this proxy itself, which checks
// the comparison; one that is asked for and missing is a failure.
func newTarget(t *testing.T) target {
	t.Helper()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "ref" })
	if !asked {
		o := newOrigin(t, "127.0.0.1:0")
		return target{"sentinel", startText(t, "basic.kdl", withoutReuse(t, o)).addr, o}
	}
	if *reference == "" || *originAddr == "" {
		t.Fatal("no reference: make confirm REF=host:port ORIGIN=host:port, where ORIGIN is what REF forwards to")
	}
	before := *patience
	*patience = time.Second // a difference is mostly something that never comes
	t.Cleanup(func() { *patience = before })
	return target{*referenceName, *reference, newOrigin(t, *originAddr)}
}

// withoutReuse is the basic configuration with a new upstream connection for each request. One proxy serves
// all vectors here, and a request that was repeated because a kept connection had ended would be one more
// than its script answers.
func withoutReuse(t *testing.T, o *origin) string {
	t.Helper()
	text, err := fixtures.Config("basic", map[string]string{"ORIGIN": o.addr()})
	if err != nil {
		t.Fatal(err)
	}
	target := fmt.Sprintf("target %q", o.addr())
	changed := strings.Replace(text, target, target+"; connection-pool { max-idle 0 }", 1)
	if changed == text {
		t.Fatalf("basic has no %s", target)
	}
	return changed
}

// TestConfirm replays the vectors that need no configuration but "forward everything" at a reference
// proxy. It compares what peers can see of a verdict: the class of the status, and how many complete
// requests the upstream got. A difference must be written into its vector as `differs: NAME, because …`,
// and one that is written must exist.
func TestConfirm(t *testing.T) {
	ref := newTarget(t)
	ref.identify(t)
	compared, differ := 0, 0
	for _, v := range vectors(t) {
		if v.Config != "basic" {
			continue
		}
		compared++
		err, recorded := ref.confirm(t, v), ref.isRecorded(v)
		switch {
		case err != nil && recorded:
			differ++
		case err != nil:
			t.Errorf("%s: %v\n  fix the vector, or write\n  differs: %s, because ...", v.Name, err, ref.name)
		case recorded:
			t.Errorf("%s: %s does not differ any more: remove the line", v.Name, ref.name)
		}
	}
	t.Logf("compared %d vectors with %s: %d recorded differences; others are listed above", compared, ref.name, differ)
	if compared == 0 {
		t.Error("no vector was compared")
	}
}

// identify makes sure that the reference forwards at all, and learns its name.
func (ref *target) identify(t *testing.T) {
	t.Helper()
	n, _ := ref.o.count()
	c := dial(t, ref.addr, whole)
	defer c.close()
	c.send(get("/x"))
	r := ref.o.request(n, complete)
	if r == nil {
		t.Fatalf("%s does not forward a plain request to %s; it answered %q", ref.addr, ref.o.addr(), clip(c.got))
	}
	r.answer(defaultAnswer)
	m, err := c.response(false)
	if err != nil {
		t.Fatalf("%s does not relay a plain answer: %v", ref.addr, err)
	}
	if server := values(m.fields, "Server"); ref.name == "" && len(server) == 1 {
		ref.name, _, _ = strings.Cut(server[0], "/")
	}
	if ref.name == "" {
		t.Fatal("the reference does not say its name: give -ref-name")
	}
}

func (ref *target) isRecorded(v *fixtures.Vector) bool {
	return slices.ContainsFunc(v.Differs, func(d fixtures.Difference) bool { return d.Name == ref.name })
}

// confirm plays one vector and compares what any proxy must agree on.
func (ref *target) confirm(t *testing.T, v *fixtures.Vector) error {
	_, before := ref.o.count()
	r := newRun(t, v, ref.o, ref.addr, whole)
	defer r.c.close()
	wanted := 0
	for i, s := range v.Steps {
		var err error
		switch {
		case s.Kind == fixtures.UpstreamGets && s.Message != nil:
			err = r.confirmUpstream(i, s.Message)
			if !s.Message.HeadOnly {
				wanted++
			}
		case s.Kind == fixtures.ClientGets:
			err = r.confirmClient(s)
		case s.Mark != fixtures.Nothing && s.Mark != fixtures.Incomplete:
			err = r.step(i, s)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", s.Line, err)
		}
	}
	if _, done := ref.o.count(); done-before != wanted {
		return fmt.Errorf("%d complete requests at the upstream, want %d", done-before, wanted)
	}
	return nil
}

// confirmUpstream waits for a request and answers it as the vector says. What earlier vectors left
// unfinished may still arrive, so order alone does not tell which request is meant.
func (r *run) confirmUpstream(i int, want *fixtures.Message) error {
	if want.Start != "" {
		r.matched++
	}
	r.req = nil
	r.o.await(func() bool {
		left := r.matched
		for _, q := range r.o.requests[r.base:] {
			if q.complete || want.HeadOnly && q.headDone && !q.gone {
				left--
			}
			if left == 0 {
				r.req = q
				return true
			}
		}
		return false
	})
	if r.req == nil {
		return fmt.Errorf("the upstream never got %q; the client has %q", want.Start, clip(r.c.got))
	}
	if !want.HeadOnly && !r.answered(i) {
		r.req.answer(defaultAnswer)
	}
	return nil
}

// confirmClient reads a response where the vector has one and compares the kind of its status.
func (r *run) confirmClient(s fixtures.Step) error {
	want := r.v.Expect.Status
	switch {
	case s.Message != nil && s.Message.Start == "", s.Message != nil && s.Message.HeadOnly:
		return nil // parts of a response are about time
	case s.Message != nil:
		want = (&message{start: s.Message.Start}).status()
	case !r.implied || s.Mark == fixtures.Cut:
		return nil
	}
	m, err := r.c.response(sendsHead(r.v.Steps[0].Bytes))
	if kind(m.status()) != kind(want) {
		if err == nil {
			err = errors.New("complete")
		}
		begun, _ := r.o.count()
		return fmt.Errorf("the client got %q (%w), want the like of %d; %d requests reached the upstream", m.start, err, want, begun-r.base)
	}
	return nil
}

// kind groups statuses by whom they blame. 501 and 505 are about the request (RFC 9110 15.6.2, 15.6.6).
func kind(status int) int {
	if status == 501 || status == 505 {
		return 4
	}
	return status / 100
}
