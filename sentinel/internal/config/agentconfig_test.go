package config

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// checkAgentConfig holds what an agent is promised: its config block comes as one JSON object, or a problem
// with its place says why it cannot.
func checkAgentConfig(t interface{ Fatalf(string, ...any) }, body string) {
	text := withAgent("", "unix-socket \"/a\"\nconfig {\n"+body+"\n}")
	c, problems := Parse("test.kdl", []byte(text), Options{Resources: ResourcesOff})
	for _, p := range problems {
		if p.File != "test.kdl" || p.Line < 1 || p.Col < 1 || p.Found == "" {
			t.Fatalf("a problem without its place: %q\n%s", p, body)
		}
	}
	if (c == nil) != problems.HasErrors() {
		t.Fatalf("Config: %v with problems %v\n%s", c != nil, problems, body)
	}
	if c == nil {
		return
	}
	for _, a := range c.Agents { // the text may close the block and define more
		if len(a.Config) > 0 && !isObject(a.Config) {
			t.Fatalf("agent %q gets %q\n%s", a.ID, a.Config, body)
		}
	}
}

func isObject(text []byte) bool {
	var object map[string]any
	return json.Unmarshal(text, &object) == nil && object != nil
}

// kdlNodes draws nodes of every shape: arguments, properties and children, in all combinations.
func kdlNodes(depth int) *rapid.Generator[string] {
	word := rapid.SampledFrom([]string{
		"a", "b", "list", "-", `""`, `"_args"`, `"with space"`, `"\u{0}\u{202e}"`, `"${HOME}"`, `#"raw"#`, "é", `"a.b"`, "config",
	})
	scalar := rapid.OneOf(word, rapid.SampledFrom([]string{
		"#true", "#false", "#null", "0", "-1", "9007199254740993", "9223372036854775807", "9223372036854775808", "1.5", "-0.0",
		"1e308", "1e309", "1e-400", "0x7fffffffffffffff", "0xffffffffffffffffff", "0b101", "1_000", "#nan", "#inf", "#-inf",
		"(u8)300", "/-dropped 1", `"\\"`, "true", "null",
	}))
	return rapid.Custom(func(t *rapid.T) string {
		var out strings.Builder
		for range rapid.IntRange(0, 4).Draw(t, "nodes") {
			out.WriteString(word.Draw(t, "name"))
			for range rapid.IntRange(0, 3).Draw(t, "entries") {
				out.WriteByte(' ')
				if rapid.Bool().Draw(t, "property") {
					out.WriteString(word.Draw(t, "key") + "=")
				}
				out.WriteString(scalar.Draw(t, "value"))
			}
			if depth > 0 && rapid.Bool().Draw(t, "children") {
				out.WriteString(" {\n" + kdlNodes(depth-1).Draw(t, "block") + "}")
			}
			out.WriteByte('\n')
		}
		return out.String()
	})
}

func TestAgentConfigIsJSON(t *testing.T) {
	nodes := kdlNodes(4)
	rapid.Check(t, func(t *rapid.T) { checkAgentConfig(t, nodes.Draw(t, "config")) })
}

// As deep as a configuration may nest, and one deeper.
func TestDeepAgentConfig(t *testing.T) {
	for _, depth := range []int{1, 60, 61, 62, 63, 64, 65, 100_000} {
		checkAgentConfig(t, strings.Repeat("a {", depth)+strings.Repeat("}", depth))
	}
}

func FuzzAgentConfig(f *testing.F) {
	for _, seed := range []string{
		"", "a", "a 1 2", "a k=1 { b \"x\" }", "a #nan", "a 1 k=2", "a 1e999", `"" ""`, "- 1\n- 2", "}\n{", "config { config 1 }", "a \"${X}\"", "/- a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) { checkAgentConfig(t, body) })
}
