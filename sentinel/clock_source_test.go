package sentinel_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wallClock lists the files that use the wall clock, and what for: to tell somebody the time. Deadlines,
// breakers, limits and whatever else lasts for a while are differences of times as time.Now returns them, which
// count by the monotonic clock, so that a clock that is set changes none of them (RES-06).
var wallClock = map[string]string{
	"builtin.go":                          "pages of the operator",
	"cmd/sentinel/admin.go":               "the operator's terminal",
	"rates.go":                            "X-RateLimit-Reset",
	"refuse.go":                           "error bodies",
	"sweeper.go":                          "the Date field",
	"internal/agents/control.go":          "messages to agents",
	"internal/agents/encode.go":           "messages to agents",
	"internal/agents/grpc_v1_messages.go": "messages to agents",
	"internal/agents/grpc_v2_messages.go": "messages to agents",
	"internal/telemetry/ids.go":           "the date in a trace id",
	"internal/telemetry/line.go":          "lines of logs",
	"internal/telemetry/metrics.go":       "a metric that says when a reload last succeeded",
	"internal/upstream/passive.go":        "since when a target is unhealthy, for the operator's pages",
	"internal/upstream/target.go":         "the same",
}

// apart are the directories that are not the proxy: agents read times that others wrote, as those in tokens.
var apart = []string{"sentinel/agent", "sentinel/cmd/sentinel-agent", "sentinel/internal/agentpb"}

// stripping are the calls that a time loses its monotonic reading by, or that make one without.
var stripping = []string{
	"Unix", "UnixMilli", "UnixMicro", "UnixNano", "UTC", "Local", "In", "AddDate", "Round", "Truncate", "ParseInLocation",
}

func TestNoDeadlineByWallClock(t *testing.T) {
	used := map[string]bool{}
	for _, dir := range goDirs(t, "sentinel") {
		if slices.ContainsFunc(apart, func(d string) bool { return dir == d || strings.HasPrefix(dir, d+"/") }) {
			continue
		}
		for _, file := range goFiles(t, dir) {
			name, err := filepath.Rel(filepath.Join(root, "sentinel"), file)
			if err != nil {
				t.Fatal(err)
			}
			calls := wallCalls(t, file)
			if len(calls) > 0 {
				used[name] = true
			}
			if wallClock[name] == "" && len(calls) > 0 {
				t.Errorf("%s uses the wall clock: %q", name, calls)
			}
		}
	}
	for name := range wallClock {
		if !used[name] {
			t.Errorf("%s is said to use the wall clock and does not", name)
		}
	}
}

// wallCalls returns the calls in a file that lead to the wall clock. time.Unix(1, 0) is no time but the past,
// by which waits are ended.
func wallCalls(t *testing.T, file string) (calls []string) {
	t.Helper()
	ast.Inspect(parse(t, file, parser.SkipObjectResolution), func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if ok && slices.Contains(stripping, f.Sel.Name) && !isPast(call) && !isOther(f) {
			calls = append(calls, f.Sel.Name)
		}
		return true
	})
	return calls
}

func isPast(call *ast.CallExpr) bool {
	if len(call.Args) != 2 {
		return false
	}
	one, ok := call.Args[0].(*ast.BasicLit)
	return ok && one.Kind == token.INT && one.Value == "1"
}

// isOther reports a function of a package whose name happens to be one of those.
func isOther(f *ast.SelectorExpr) bool {
	x, ok := f.X.(*ast.Ident)
	return ok && (x.Name == "math" || x.Name == "unix")
}
