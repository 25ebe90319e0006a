package conformance

import (
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures"
)

// vectors reads all vectors, or fails the test.
func vectors(t testing.TB) []*fixtures.Vector {
	t.Helper()
	all, err := fixtures.Vectors()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// stage is an origin and a proxy in front of it.
type stage struct {
	*subject
	o *origin
}

// newStage starts both, with a configuration of fixtures. Each vector has its own stage, so that whose
// bytes arrive is never in question.
func newStage(t testing.TB, config string) stage {
	t.Helper()
	o := newOrigin(t, "127.0.0.1:0")
	values := map[string]string{"ORIGIN": o.addr(), "REFUSED": refused(t)}
	if config == "timeouts" {
		values["DEAF"] = deaf(t)
	}
	return stage{start(t, config, values), o}
}

// fail reports a vector that was not kept.
func fail(t testing.TB, v *fixtures.Vector, s *subject, err error) {
	t.Helper()
	e := v.Expect
	t.Errorf("%v\n  file:    fixtures/vectors/%s.txt\n  rule:    %s\n  why:     %s\n  expect:  %s %d %s\n  log:     %+v\n  errors:  %s\n  rerun:   go test ./conformance -run '%s$'",
		err, v.Name, v.Rule, v.Why, e.Verdict, e.Status, e.Reason, s.access.last(), s.errors, t.Name())
}

// TestVectors plays every vector once. Stopping the proxy before the last checks makes sure that nothing
// is still on its way.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t, v.Config)
			r := newRun(t, v, st.o, st.addr, whole)
			if err := r.play(); err != nil {
				fail(t, v, st.subject, err)
				return
			}
			st.access.wait(len(r.wantLines()))
			r.c.close()
			st.stop(t)
			st.o.must(t, "the proxy's upstream connections are closed", func() bool { return st.o.open == 0 })
			lines := st.access.snapshot()
			if len(st.access.bad) > 0 {
				t.Errorf("access lines that are no JSON: %q", st.access.bad)
			}
			if err := r.settled(lines); err != nil {
				fail(t, v, st.subject, err)
			}
		})
	}
}
