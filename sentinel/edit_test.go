package sentinel

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// fieldsOf reads "Name: value" lines.
func fieldsOf(lines ...string) (f []wire.Field) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		f = append(f, named(name, value))
	}
	return f
}

func linesOf(f []wire.Field) (lines []string) {
	for i := range f {
		lines = append(lines, string(f[i].Name)+": "+string(f[i].Value))
	}
	return lines
}

func TestEdits(t *testing.T) {
	t.Parallel()
	pair := func(name, value string) [][2]string { return [][2]string{{name, value}} }
	for _, test := range []struct {
		name         string
		blocks       []config.HeaderEdits
		before, want []string
	}{
		{"nothing", nil, []string{"A: 1"}, []string{"A: 1"}},
		{"rename", []config.HeaderEdits{{Rename: pair("a", "B")}}, []string{"A: 1", "C: 2", "A: 3"}, []string{"B: 1", "C: 2", "B: 3"}},
		{"set replaces every one", []config.HeaderEdits{{Set: pair("A", "new")}}, []string{"a: 1", "B: 2", "A: 3"}, []string{"B: 2", "A: new"}},
		{"set makes a new one", []config.HeaderEdits{{Set: pair("A", "new")}}, nil, []string{"A: new"}},
		{"add", []config.HeaderEdits{{Add: pair("A", "2")}}, []string{"A: 1"}, []string{"A: 1", "A: 2"}},
		{"remove", []config.HeaderEdits{{Remove: []string{"A"}}}, []string{"a: 1", "B: 2", "A: 3"}, []string{"B: 2"}},
		{
			"in order: rename, set, add, remove",
			[]config.HeaderEdits{{Rename: pair("Old", "New"), Set: pair("New", "set"), Add: pair("New", "added"), Remove: []string{"Old"}}},
			[]string{"Old: 1"},
			[]string{"New: set", "New: added"},
		},
		{"remove sees what was added", []config.HeaderEdits{{Add: pair("A", "1"), Remove: []string{"A"}}}, nil, nil},
		{
			"blocks one after the other",
			[]config.HeaderEdits{{Remove: []string{"A"}}, {Set: pair("A", "again")}},
			[]string{"A: 1"},
			[]string{"A: again"},
		},
		{
			"the correlation id stays",
			[]config.HeaderEdits{{Remove: []string{"x-CORRELATION-id", "X-Trace-Id"}}},
			[]string{"X-Correlation-Id: 1", "X-Trace-Id: 1"},
			[]string{"X-Correlation-Id: 1"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := linesOf(compileEdits(test.blocks...).apply(fieldsOf(test.before...))); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestEditsKnowTheirFields shows that a field gets the rules of its new name.
func TestEditsKnowTheirFields(t *testing.T) {
	t.Parallel()
	got := compileEdits(config.HeaderEdits{Rename: [][2]string{{"X-Mine", "x-request-id"}}}).apply(fieldsOf("X-Mine: 1"))
	if got[0].ID != wire.XRequestID {
		t.Errorf("a renamed field has ID %d", got[0].ID)
	}
}

// TestDropUp names the fields that never travel to an upstream, and some that do.
func TestDropUp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "HTTP2-Settings",
		"Proxy-Authorization", "Proxy-Authenticate", "Forwarded", "X-Forwarded-For", "X-Forwarded-Anything", "X-Real-IP",
		"True-Client-IP", "CF-Connecting-IP", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override",
		"X-Internal-Token", "Authorization-Internal", "X-Trace-Id", "X-Correlation-Id", "X-Request-Id",
	} {
		f := named(strings.ToUpper(name), "")
		if !dropUp[f.ID] {
			t.Errorf("%s is forwarded", name)
		}
		disguised := named(strings.ReplaceAll(name, "-", "_"), "")
		if strings.Contains(name, "-") && !isDisguised(&disguised) {
			t.Errorf("%s is forwarded", disguised.Name)
		}
	}
	for _, name := range []string{"Authorization", "Cookie", "Accept", "X-Custom", "Range", "X_Custom", "If-None-Match"} {
		f := named(name, "")
		if dropUp[f.ID] || isDisguised(&f) {
			t.Errorf("%s is not forwarded", name)
		}
	}
}

// TestUnframe compares the data of a chunked body, taken piece by piece, with what was chunked.
func TestUnframe(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var want, framed []byte
		for _, chunk := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 40), 0, 20).Draw(t, "chunks") {
			want = append(want, chunk...)
			framed = wire.AppendChunk(framed, chunk)
		}
		framed = wire.AppendLastChunk(framed, nil)
		size := len(framed)
		framed = append(framed, "next request"...)
		var body wire.Body
		body.Reset(wire.ByChunks, 0, &upstreamHeads)
		var got []byte
		at := 0
		for !body.Done() {
			end := min(len(framed), at+rapid.IntRange(1, 100).Draw(t, "read"))
			data, n, fault := unframe(&body, framed[at:end])
			if fault != wire.None || n == 0 {
				t.Fatalf("fault %v, %d bytes used", fault, n)
			}
			got = append(got, data...)
			at += n
		}
		if !bytes.Equal(got, want) || at != size {
			t.Fatalf("%d bytes of %d, %d of the framing's %d", len(got), len(want), at, size)
		}
	})
}

func TestUnframeFault(t *testing.T) {
	t.Parallel()
	var body wire.Body
	body.Reset(wire.ByChunks, 0, &upstreamHeads)
	if _, _, fault := unframe(&body, []byte("2\r\nhi\r\nxx\r\n")); fault != wire.BadChunk {
		t.Errorf("fault %v", fault)
	}
}
