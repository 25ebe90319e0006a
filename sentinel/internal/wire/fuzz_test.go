package wire

import (
	"bytes"
	"testing"
)

// fuzzFeeds are the ways to cut a fuzzed message: in two where the fuzzer says, byte by byte, and byte by
// byte in a moving buffer. Long messages are not taken apart: time is better spent on more of them.
func fuzzFeeds(n int, cut uint16) []feed {
	all := []feed{{ends: []int{min(int(cut), n), n}}}
	if n > 1024 {
		return all
	}
	return append(all, feeds(n)[max(n-1, 0):]...)
}

func FuzzRequest(f *testing.F) {
	for _, in := range seeds(requestLines, targets, hosts, fieldLines, connections, framings, expectations, hops) {
		f.Add([]byte(in), uint16(len(in)/2))
	}
	for _, in := range seeds(bodies) {
		f.Add([]byte(withFields("Transfer-Encoding: chunked")+in), uint16(70))
	}
	f.Add([]byte(loadHead), uint16(20))
	f.Add([]byte(browserHead), uint16(300))
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		want, n := parseRequest(in, whole(len(in)), everything)
		if n < 0 || n > len(in) {
			t.Fatalf("%q: consumed %d of %d", in, n, len(in))
		}
		for _, feed := range fuzzFeeds(len(in), cut) {
			if got, m := parseRequest(in, feed, everything); got != want || m != n {
				t.Fatalf("%q fed %+v:\n got %d %s\nwant %d %s", in, feed, m, got, n, want)
			}
		}
		if n > 0 {
			askNetHTTPAboutRequest(t, in, n)
		}
	})
}

func FuzzResponse(f *testing.F) {
	for _, in := range seeds(statusLines, responseFramings, responseFields) {
		f.Add([]byte(in), uint16(len(in)/2), false)
	}
	for _, in := range seeds(headResponses) {
		f.Add([]byte(in), uint16(len(in)/2), true)
	}
	f.Add([]byte(responseHead), uint16(100), false)
	f.Fuzz(func(t *testing.T, in []byte, cut uint16, toHead bool) {
		want, n := parseResponse(in, toHead, whole(len(in)), allOfResponse)
		if n < 0 || n > len(in) {
			t.Fatalf("%q: consumed %d of %d", in, n, len(in))
		}
		for _, feed := range fuzzFeeds(len(in), cut) {
			if got, m := parseResponse(in, toHead, feed, allOfResponse); got != want || m != n {
				t.Fatalf("%q fed %+v:\n got %d %s\nwant %d %s", in, feed, m, got, n, want)
			}
		}
		if n > 0 {
			askNetHTTPAboutResponse(t, in, toHead, n)
		}
	})
}

func FuzzChunked(f *testing.F) {
	for _, in := range seeds(bodies) {
		f.Add([]byte(in), uint16(len(in)/2))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		want := readBody(t, ByChunks, 0, in, whole(len(in)))
		for _, feed := range fuzzFeeds(len(in), cut) {
			if feed.moved {
				continue // a body keeps nothing of the buffer
			}
			if got := readBody(t, ByChunks, 0, in, feed); got != want {
				t.Fatalf("%q fed %v:\n got %+v\nwant %+v", in, feed.ends, got, want)
			}
		}
		if want.done {
			askNetHTTPAboutChunks(t, in, want)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, in := range seeds(paths) {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		sent := bytes.Clone(raw)
		path, _, fault := CanonicalPath(nil, raw)
		if !bytes.Equal(raw, sent) {
			t.Fatalf("%q was changed", sent)
		}
		HidesDotSegment(raw)
		if _, f := DecodeSlashes(nil, raw); fault != None && f == None && !bytes.Contains(bytes.ToLower(raw), []byte("%2f")) {
			t.Fatalf("%q: refused as it is, accepted with its slashes decoded", raw)
		}
		if fault != None {
			return
		}
		if flaw := flawOf(path); flaw != "" || len(path) > len(raw) {
			t.Fatalf("%q became %q, which has %s", raw, path, flaw)
		}
		if again, _, fault := CanonicalPath(nil, path); fault != None || !bytes.Equal(again, path) {
			t.Fatalf("%q became %q, then %q", raw, path, again)
		}
		scratch := make([]byte, 3)
		if got, _, _ := CanonicalPath(scratch, raw); !bytes.Equal(got, path) {
			t.Fatalf("%q with a short scratch became %q, not %q", raw, got, path)
		}
	})
}
