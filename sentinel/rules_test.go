package sentinel_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The house rules that a machine can keep. CONTRIBUTING.md says what they are for.

const (
	module      = "github.com/sentinel-proxy/sentinel-go/"
	root        = ".." // of the module, seen from here
	maxFile     = 500  // lines
	maxFunction = 70
	maxDecision = 12
)

// arrows lists the packages and what each may import of this module. Everything else is forbidden, so a
// new package starts with a line here.
var arrows = map[string][]string{
	"sentinel/cmd/sentinel": {"sentinel", "sentinel/internal/process"},
	"sentinel/cmd/sentinel-agent": {
		"sentinel/agent", "sentinel/cmd/sentinel-agent/auth", "sentinel/cmd/sentinel-agent/lua",
		"sentinel/cmd/sentinel-agent/ratelimit", "sentinel/cmd/sentinel-agent/waf",
	},
	"sentinel/cmd/sentinel-agent/auth":      {"sentinel/agent"},
	"sentinel/cmd/sentinel-agent/lua":       {"sentinel/agent"},
	"sentinel/cmd/sentinel-agent/ratelimit": {"sentinel/agent", "sentinel/internal/breaker"},
	"sentinel/cmd/sentinel-agent/waf":       {"sentinel/agent"},
	"sentinel": {
		"sentinel/agent", "sentinel/internal/agents", "sentinel/internal/breaker", "sentinel/internal/coding",
		"sentinel/internal/config", "sentinel/internal/health", "sentinel/internal/limit", "sentinel/internal/proxyproto",
		"sentinel/internal/route", "sentinel/internal/telemetry", "sentinel/internal/upstream", "sentinel/internal/wire",
	},
	"sentinel/agent":               {"sentinel/internal/agentpb/v1", "sentinel/internal/agentpb/v2"},
	"sentinel/agent/example":       {"sentinel/agent"},
	"sentinel/internal/agentpb/v1": {},
	"sentinel/internal/agentpb/v2": {},
	"sentinel/internal/agents": {
		"sentinel/agent", "sentinel/internal/agentpb/v1", "sentinel/internal/agentpb/v2", "sentinel/internal/breaker",
		"sentinel/internal/limit", "sentinel/internal/wire",
	},
	"sentinel/internal/balance":    {},
	"sentinel/internal/breaker":    {},
	"sentinel/internal/coding":     {"sentinel/internal/wire"},
	"sentinel/internal/config":     {"sentinel/internal/wire"},
	"sentinel/internal/health":     {},
	"sentinel/internal/limit":      {},
	"sentinel/internal/process":    {},
	"sentinel/internal/route":      {"sentinel/internal/wire"},
	"sentinel/internal/proxyproto": {"sentinel/internal/wire"},
	"sentinel/internal/upstream": {
		"sentinel/internal/balance", "sentinel/internal/breaker", "sentinel/internal/health", "sentinel/internal/limit",
		"sentinel/internal/wire",
	},
	"sentinel/internal/telemetry": {},
	"sentinel/internal/wire":      {},
}

// strangers are packages that have no place in the binary.
var strangers = map[string]string{
	"testing":           "test code stays out of the binary",
	"net/http/httptest": "test code stays out of the binary",
	"net/http/httputil": "the data path is our own",
	"net/http/pprof":    "it registers itself on the default mux",
	"log":               "use log/slog",
	"math/rand":         "use math/rand/v2",
}

func TestImportArrows(t *testing.T) {
	for dir := range arrows {
		if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
			t.Errorf("arrows lists %s, which does not exist", dir)
		}
	}
	for _, dir := range goDirs(t, "sentinel") {
		allowed, listed := arrows[dir]
		if !listed {
			t.Errorf("%s has no line in arrows", dir)
		}
		for _, path := range imports(t, dir) {
			if own, ours := strings.CutPrefix(path, module); ours && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s", dir, own)
			}
			if why, bad := strangers[path]; bad {
				t.Errorf("%s imports %s: %s", dir, path, why)
			}
		}
	}
}

// TestOutsideArrows keeps the tools from knowing the proxy, and the vectors from knowing anything.
func TestOutsideArrows(t *testing.T) {
	for _, dir := range goDirs(t, "fixtures") {
		for _, path := range imports(t, dir) {
			if strings.Contains(path, ".") {
				t.Errorf("%s imports %s: fixtures depends on the standard library only", dir, path)
			}
		}
	}
	for _, dir := range goDirs(t, "loadgen") {
		for _, path := range imports(t, dir) {
			if strings.HasPrefix(path, module+"sentinel") {
				t.Errorf("%s imports %s: the load generator never knows its target", dir, path)
			}
		}
	}
}

// TestSoakKnowsNoCode keeps the soak outside of the binary that it runs.
func TestSoakKnowsNoCode(t *testing.T) {
	p, err := build.ImportDir(filepath.Join(root, "soak"), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range p.TestImports {
		if strings.HasPrefix(path, module+"sentinel") || strings.HasPrefix(path, module+"conformance") {
			t.Errorf("soak imports %s", path)
		}
	}
}

func TestOnePackageComment(t *testing.T) {
	for _, dir := range goDirs(t, "") {
		var with, all []string
		for _, file := range goFiles(t, dir) {
			all = append(all, filepath.Base(file))
			if parse(t, file, parser.PackageClauseOnly|parser.ParseComments).Doc != nil {
				with = append(with, filepath.Base(file))
			}
		}
		want := []string{"doc.go"}
		if len(all) == 1 {
			want = all // a package of one file says it there
		}
		if !slices.Equal(with, want) {
			t.Errorf("%s: the package comment is in %q, want it in %q", dir, with, want)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, dir := range goDirs(t, "") {
		for _, file := range goFiles(t, dir) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte("\n")); n > maxFile {
				t.Errorf("%s has %d lines, more than %d", file, n, maxFile)
			}
		}
	}
}

func TestFunctionsAreShort(t *testing.T) {
	for _, dir := range goDirs(t, "") {
		for _, file := range goFiles(t, dir) {
			set := token.NewFileSet()
			parsed, err := parser.ParseFile(set, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				f, ok := d.(*ast.FuncDecl)
				if n := set.Position(d.End()).Line - set.Position(d.Pos()).Line + 1; ok && n > maxFunction {
					t.Errorf("%s: %s has %d lines, more than %d", file, f.Name.Name, n, maxFunction)
				}
			}
		}
	}
}

// TestMapIsComplete demands that doc.go, the map of this package, names every file and no other.
func TestMapIsComplete(t *testing.T) {
	text := parse(t, "doc.go", parser.PackageClauseOnly|parser.ParseComments).Doc.Text()
	named := regexp.MustCompile(`\b\w+\.go\b`).FindAllString(text, -1)
	want := []string{}
	for _, file := range goFiles(t, "sentinel") {
		if name := filepath.Base(file); name != "doc.go" {
			want = append(want, name)
		}
	}
	slices.Sort(named)
	if named = slices.Compact(named); !slices.Equal(named, want) {
		t.Errorf("doc.go names\n%q, the files are\n%q", named, want)
	}
}

// TestDecisionsAreShort keeps the decisions of DESIGN.md readable at one sitting.
func TestDecisionsAreShort(t *testing.T) {
	_, text, _ := strings.Cut(read(t, "../DESIGN.md"), "\n## Decisions\n")
	text, _, _ = strings.Cut(text, "\n## ")
	decisions := strings.Split(text, "\n### ")[1:]
	for i, d := range decisions {
		if n := strings.Count(strings.TrimSpace(d), "\n"); n > maxDecision || !strings.HasPrefix(d, fmt.Sprintf("%d. ", i+1)) {
			t.Errorf("decision %d has %d lines, want at most %d: %.40q", i+1, n, maxDecision, d)
		}
		for _, part := range []string{"\nContext: ", "\nChoice: ", "\nPrice: ", "\nRevisit"} {
			if !strings.Contains(d, part) {
				t.Errorf("decision %d has no %q", i+1, part)
			}
		}
	}
	if len(decisions) == 0 {
		t.Error("no decision found")
	}
}

// goDirs returns the directories below dir that hold Go files, relative to the module.
func goDirs(t *testing.T, dir string) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, e fs.DirEntry, err error) error {
		name := e.Name()
		switch {
		case err != nil:
			return err
		case e.IsDir() && (name == "build" || name == "testdata" || name[0] == '.' && name != root):
			return fs.SkipDir
		case !e.IsDir() && strings.HasSuffix(name, ".go"):
			own, err := filepath.Rel(root, filepath.Dir(path))
			dirs = append(dirs, own)
			return err
		}
		return nil
	})
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no Go files below %q: %v", dir, err)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// goFiles returns the Go files of a directory that people wrote and that are not tests.
func goFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(f string) bool {
		return strings.HasSuffix(f, "_test.go") || ast.IsGenerated(parse(t, f, parser.PackageClauseOnly|parser.ParseComments))
	})
}

func imports(t *testing.T, dir string) []string {
	t.Helper()
	p, err := build.ImportDir(filepath.Join(root, dir), 0)
	if err != nil {
		t.Fatal(err)
	}
	return p.Imports
}

func parse(t *testing.T, file string, mode parser.Mode) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, mode)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
