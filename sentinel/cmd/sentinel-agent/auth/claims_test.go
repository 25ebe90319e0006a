package auth

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// sets returns the header fields that a verdict sets.
func sets(v *agent.Verdict) map[string]string {
	fields := map[string]string{}
	for _, op := range v.RequestOps {
		if op.Kind != agent.RemoveHeader {
			fields[op.Name] = op.Value
		}
	}
	return fields
}

// TestClaims holds what becomes of a claim that is mapped to a header field.
func TestClaims(t *testing.T) {
	t.Parallel()
	h := withKeys(t, Policy{Claims: map[string]string{"sub": "X-User", "c": "X-C", "n.a.b": "X-Nested"}})
	deep := func(v any) map[string]any { return map[string]any{"a": map[string]any{"b": v}} }
	for _, c := range []struct {
		name    string
		changes map[string]any
		want    map[string]string // nil: refused
	}{
		{"text", map[string]any{"c": "Zoë O'Hara"}, map[string]string{"X-C": "Zoë O'Hara"}},
		{"number", map[string]any{"c": json.RawMessage("12345678901234567890")}, map[string]string{"X-C": "12345678901234567890"}},
		{"bool", map[string]any{"c": true}, map[string]string{"X-C": "true"}},
		{"array", map[string]any{"c": []any{"a", 1, false}}, map[string]string{"X-C": "a,1,false"}},
		{"nested", map[string]any{"n": deep("x")}, map[string]string{"X-Nested": "x"}},
		{"nested array", map[string]any{"n": deep([]string{"x", "y"})}, map[string]string{"X-Nested": "x,y"}},
		{"name with dots", map[string]any{"n.a.b": "x", "n": deep("y")}, map[string]string{"X-Nested": "x"}},
		{"way ends early", map[string]any{"n": map[string]any{"a": "x"}}, map[string]string{}},
		{"way leads through text", map[string]any{"n": "x"}, map[string]string{}},
		{"null", map[string]any{"c": json.RawMessage("null")}, map[string]string{}},
		{"empty text", map[string]any{"c": ""}, map[string]string{}},
		{"empty array", map[string]any{"c": []string{}}, map[string]string{}},
		{"longest", map[string]any{"c": strings.Repeat("x", maxValue)}, map[string]string{"X-C": strings.Repeat("x", maxValue)}},
		{"too long", map[string]any{"c": strings.Repeat("x", maxValue+1)}, nil},
		{"array too long", map[string]any{"c": []string{strings.Repeat("x", maxValue/2), strings.Repeat("y", maxValue/2)}}, nil},
		{"line end", map[string]any{"c": "a\r\nX-Admin: 1"}, nil},
		{"line end at the end", map[string]any{"c": "admin\n"}, nil},
		{"zero byte", map[string]any{"c": "a\x00"}, nil},
		{"control character of Unicode", map[string]any{"c": "a\u0085b"}, nil},
		{"space at the end", map[string]any{"c": "admin "}, nil},
		{"object", map[string]any{"c": map[string]any{"a": 1}}, nil},
		{"array with a comma", map[string]any{"c": []string{"a,admin"}}, nil},
		{"array with an empty member", map[string]any{"c": []string{"a", ""}}, nil},
		{"array with an array", map[string]any{"c": []any{[]string{"a"}}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := ask(t, h, sign(t, "ES256", p256Key, claims(c.changes), nil))
			if c.want == nil {
				check(t, v, "bad_claim")
				return
			}
			check(t, v, "")
			want := maps.Clone(c.want)
			want["X-User"] = "alice"
			if got := sets(v); !maps.Equal(got, want) {
				t.Errorf("sets %q, want %q", got, want)
			}
		})
	}
}

// TestSpoofing sends identity fields under every name that an origin may read: all are removed, and ours are
// set after that.
func TestSpoofing(t *testing.T) {
	t.Parallel()
	h := withKeys(t, Policy{Claims: map[string]string{"sub": "X-User-Id", "role": "X-Role"}, StripToken: true})
	r := request("/", "authorization", "Bearer "+good(t), "x-user-id", "root", "x_user_id", "root", "x-user_id", "root", "x-role", "admin",
		"x-user-ids", "kept")
	v := h.RequestHeaders(t.Context(), r)
	check(t, v, "")
	for _, name := range []string{"x-user-id", "x_user_id", "x-user_id", "x-role", "authorization"} {
		if !removes(v, name) {
			t.Errorf("%s stays", name)
		}
	}
	if removes(v, "x-user-ids") {
		t.Error("a field of another name is removed")
	}
	if got := sets(v); !maps.Equal(got, map[string]string{"X-User-Id": "alice"}) {
		t.Errorf("sets %q", got)
	}
}

// TestFieldValueIsSafe asks for any text: what goes into a header field is that text, on one line.
func TestFieldValueIsSafe(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(rt, "text"))
		value, err := fieldValue(text)
		if err == nil && (value != text || strings.ContainsAny(value, "\r\n\x00")) {
			rt.Fatalf("%q becomes %q", text, value)
		}
		members := rapid.SliceOf(rapid.String()).Draw(rt, "members")
		list := make([]any, len(members))
		for i, m := range members {
			list[i] = m
		}
		if joined, err := fieldValue(list); err == nil && len(members) > 0 && len(strings.Split(joined, ",")) != len(members) {
			rt.Fatalf("%d members become %q", len(members), joined)
		}
	})
}
