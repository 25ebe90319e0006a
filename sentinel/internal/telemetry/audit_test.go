package telemetry

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// parsedAudit is what a reader of the audit log sees of an entry.
type parsedAudit struct {
	Reason    string
	Agent     string `json:"agent_id"`
	Action    string
	RuleIDs   []string `json:"rule_ids"`
	Tags      []string
	Metadata  map[string]string
	Truncated bool
}

// parseAudit fails unless the line is one line of printable text that holds one JSON object.
func parseAudit(t interface{ Fatalf(string, ...any) }, line string) (p parsedAudit) {
	text, ended := strings.CutSuffix(line, "\n")
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); !ended || i >= 0 || !utf8.ValidString(text) {
		t.Fatalf("not one line of printable text: %q", line)
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return p
}

// An agent's words can neither begin a line nor a member of their own.
func TestAuditOfAHostileAgent(t *testing.T) {
	for name, word := range map[string]string{
		"a line of its own": "x\"}\n{\"event_type\":\"admin_action\"",
		"a terminal's":      "\x1b[2J\x1b]0;owned\x07\u009b31m",
		"reversed":          "\u202egnp.exe\u2066",
		"line separators":   "a\u2028b\u2029c\u0085d",
		"a backslash last":  `x\`,
		"nul":               "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			line := auditLine(t, AuditOptions{LogAgentDecisions: true}, AuditEntry{
				Event: EventAgentDecision, Reason: word, Agent: word, Action: word, RuleIDs: []string{word, word}, Tags: []string{word},
				Metadata: []Attribute{{word, word}, {"custom", word}},
			})
			p := parseAudit(t, line)
			if p.Reason != word || p.Agent != word || p.Action != word || len(p.RuleIDs) != 2 || p.RuleIDs[1] != word ||
				p.Tags[0] != word || p.Metadata[word] != word || p.Metadata["custom"] != word || p.Truncated {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestAuditBoundsMetadata(t *testing.T) {
	entries := func(n, size int) (list []Attribute) {
		for i := range n {
			list = append(list, Attribute{strconv.Itoa(10 + i), strings.Repeat("v", size)})
		}
		return list
	}
	for name, c := range map[string]struct {
		metadata []Attribute
		entries  int
		cut      bool
	}{
		"none":                    {nil, 0, false},
		"exactly full":            {entries(4, maxMetadata/4-2), 4, false},
		"a byte more":             {append(entries(4, maxMetadata/4-2), Attribute{"x", ""}), 4, true},
		"one giant":               {entries(1, 10*maxMetadata), 1, true},
		"two giants":              {entries(2, 10*maxMetadata), 1, true},
		"nothing behind the cut":  {append(entries(2, 10*maxMetadata), Attribute{"x", "y"}), 1, true},
		"a small one before it":   {append([]Attribute{{"x", "y"}}, entries(1, 10*maxMetadata)...), 2, true},
		"a giant name":            {[]Attribute{{strings.Repeat("n", 10*maxMetadata), "y"}}, 1, true},
		"many small ones":         {entries(maxList, 1), maxList, false},
		"many not so small ones":  {entries(maxList, 126), maxMetadata / 128, true},
		"as many as a list holds": {entries(maxList, 62), maxList, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := parseAudit(t, auditLine(t, AuditOptions{}, AuditEntry{Metadata: c.metadata}))
			if len(p.Metadata) != c.entries || p.Truncated != c.cut {
				t.Errorf("%d entries, truncated %v; want %d, %v", len(p.Metadata), p.Truncated, c.entries, c.cut)
			}
		})
	}
}

// Whatever an agent says, the entry stays one JSON object within its bounds, and what is cut is said to be.
func TestAuditOfAnyWords(t *testing.T) {
	word := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.Map(rapid.IntRange(0, 3*maxText), func(n int) string { return strings.Repeat("\u202e", n/3) }))
	list := rapid.SliceOfN(word, 0, maxList+2)
	rapid.Check(t, func(t *rapid.T) {
		e := AuditEntry{Event: word.Draw(t, "event"), Agent: word.Draw(t, "agent"), RuleIDs: list.Draw(t, "rules"), Tags: list.Draw(t, "tags")}
		names := rapid.SliceOfNDistinct(word, 0, maxList+2, rapid.ID[string]).Draw(t, "names")
		size := 0
		for _, name := range names {
			e.Metadata = append(e.Metadata, Attribute{name, word.Draw(t, "value")})
		}
		s := newLine()
		s.encodeAudit(&e)
		p := parseAudit(t, string(s.b)+"\n")
		if len(p.RuleIDs) != min(len(e.RuleIDs), maxList) || len(p.Tags) != min(len(e.Tags), maxList) || p.Truncated != s.cut {
			t.Fatalf("%d rules, %d tags, truncated %v", len(p.RuleIDs), len(p.Tags), p.Truncated)
		}
		for name, value := range p.Metadata {
			size += len(strings.ReplaceAll(name+value, "\ufffd", "?")) // one byte that was no UTF-8
		}
		if size > maxMetadata {
			t.Fatalf("%d bytes of metadata", size)
		}
	})
}
