package conformance

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures"
)

var boundaries = flag.Int("boundaries", 16, "how many two-piece cuts TestSegments makes of each vector (64: as many as are useful)")

// TestSegments plays every vector with its client's bytes sent one at a time, and in two pieces cut at
// each boundary: bytes mean the same however they arrive (RFC 9112 2). Vectors about time are left to
// TestVectors.
func TestSegments(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Config == "timeouts" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t, v.Config)
			for i, w := range ways(v) {
				if i > 0 && breaksUpstream(v) {
					st = newStage(t, v.Config) // a kept-alive connection that breaks is another case
				}
				if err := st.playCut(t, v, w.cut); err != nil {
					fail(t, v, st.subject, fmt.Errorf("with the client's bytes %s: %w", w.name, err))
					return
				}
			}
		})
	}
}

// playCut plays a vector on a stage that earlier runs have used.
func (st stage) playCut(t *testing.T, v *fixtures.Vector, cut cutter) error {
	before := len(st.access.snapshot())
	r := newRun(t, v, st.o, st.addr, cut)
	r.maySayContinue = true // a body that comes in pieces is waited for, and asked for
	defer r.c.close()
	if err := r.play(); err != nil {
		return err
	}
	return r.settled(st.access.wait(before + len(r.wantLines()))[before:])
}

func breaksUpstream(v *fixtures.Vector) bool {
	return slices.ContainsFunc(v.Steps, func(s fixtures.Step) bool {
		return s.Kind == fixtures.UpstreamSends && s.Mark != fixtures.NoMark
	})
}

// way is one way to cut a vector's client bytes.
type way struct {
	name string
	cut  cutter
}

func ways(v *fixtures.Vector) []way {
	var all []byte
	for _, s := range v.Steps {
		if s.Kind == fixtures.ClientSends {
			all = append(all, s.Bytes...)
		}
	}
	list := []way{{"one at a time", single(len(all))}}
	for _, at := range interesting(all, *boundaries) {
		list = append(list, way{fmt.Sprintf("cut at byte %d", at), halves(at)})
	}
	return list
}

// single cuts between every two bytes. Of a long script only the ends: its middle is one repetition.
func single(total int) cutter {
	const edge = 512
	return func(b []byte, offset int) (pieces [][]byte) {
		start := 0
		for i := range b {
			if at := offset + i + 1; at < edge || at > total-edge {
				pieces = append(pieces, b[start:i+1])
				start = i + 1
			}
		}
		if start < len(b) {
			pieces = append(pieces, b[start:])
		}
		return pieces
	}
}

// halves cuts once, before the byte at an offset of the whole script.
func halves(at int) cutter {
	return func(b []byte, offset int) [][]byte {
		if k := at - offset; k > 0 && k < len(b) {
			return [][]byte{b[:k], b[k:]}
		}
		return [][]byte{b}
	}
}

// interesting returns at most n places to cut: those around delimiters first, then evenly spread ones.
func interesting(b []byte, n int) []int {
	var delimiters, rest []int
	for i := 1; i < len(b); i++ {
		if strings.ContainsRune("\r\n:; ", rune(b[i])) || strings.ContainsRune("\r\n", rune(b[i-1])) {
			delimiters = append(delimiters, i)
		} else {
			rest = append(rest, i)
		}
	}
	if len(delimiters) > n {
		return spread(delimiters, n)
	}
	return append(delimiters, spread(rest, n-len(delimiters))...)
}

// spread picks n of the places, evenly, the last one included.
func spread(places []int, n int) []int {
	if n <= 0 || len(places) <= n {
		return places[:min(len(places), max(n, 0))]
	}
	picked := make([]int, 0, n)
	for i := range n {
		picked = append(picked, places[(i+1)*len(places)/n-1])
	}
	return picked
}
