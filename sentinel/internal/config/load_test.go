package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// tree writes files below a new directory and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	routeA    = "route \"a\" { matches { path \"/a\" }; upstream \"u\" }\n"
	routeB    = "route \"b\" { matches { path \"/b\" }; upstream \"u\" }\n"
	skeleton  = systemPart + listenerPart + upstreamPart
	withLimit = "limits { max-header-count 7 }\n"
)

func routeIDs(c *Config) (ids []string) {
	for _, r := range c.Routes {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestLoadTrees(t *testing.T) {
	tests := []struct {
		name     string
		files    map[string]string
		load     string // below the directory
		routes   []string
		read     []string
		problems []string // a part of each
	}{
		{
			name: "one file", files: map[string]string{"s.kdl": skeleton + routeA}, load: "s.kdl",
			routes: []string{"a"}, read: []string{"s.kdl"},
		},
		{
			name:  "include in place",
			files: map[string]string{"s.kdl": skeleton + routeA + "include \"more/b.kdl\"\nroute \"c\" { matches { path \"/c\" }; upstream \"u\" }\n", "more/b.kdl": routeB},
			load:  "s.kdl", routes: []string{"a", "b", "c"}, read: []string{"s.kdl", "more/b.kdl"},
		},
		{
			name:  "glob, sorted",
			files: map[string]string{"s.kdl": skeleton + "include \"r/[ab].kdl\"\n", "r/b.kdl": routeB, "r/a.kdl": routeA, "r/c.kdl": "nonsense"},
			load:  "s.kdl", routes: []string{"a", "b"}, read: []string{"s.kdl", "r/a.kdl", "r/b.kdl"},
		},
		{
			name:  "any depth",
			files: map[string]string{"s.kdl": skeleton + "include \"r/**/*.kdl\"\n", "r/b.kdl": routeB, "r/x/y/a.kdl": routeA, "r/.hidden/c.kdl": "nonsense"},
			load:  "s.kdl", routes: []string{"b", "a"}, read: []string{"s.kdl", "r/b.kdl", "r/x/y/a.kdl"},
		},
		{
			name:  "relative to the including file",
			files: map[string]string{"s.kdl": skeleton + "include \"r/a.kdl\"\n", "r/a.kdl": routeA + "include \"b.kdl\"\n", "r/b.kdl": routeB},
			load:  "s.kdl", routes: []string{"a", "b"}, read: []string{"s.kdl", "r/a.kdl", "r/b.kdl"},
		},
		{
			name: "no match", files: map[string]string{"s.kdl": skeleton + routeA + "include \"conf.d/*.kdl\"\n"}, load: "s.kdl",
			routes: []string{"a"}, read: []string{"s.kdl"}, problems: []string{"warning s.kdl:5:9: include: no file matches conf.d/*.kdl"},
		},
		{
			name: "cycle", files: map[string]string{"s.kdl": skeleton + "include \"a.kdl\"\n", "a.kdl": routeA + "include \"s.kdl\"\n"}, load: "s.kdl",
			problems: []string{"error a.kdl:2:9: include: circular include: s.kdl is being read already"},
		},
		{
			name: "itself", files: map[string]string{"s.kdl": skeleton + "include \"*.kdl\"\n"}, load: "s.kdl",
			problems: []string{"error s.kdl:4:9: include: circular include"},
		},
		{
			name: "diamond", load: "s.kdl",
			files:    map[string]string{"s.kdl": skeleton + "include \"a.kdl\" \"b.kdl\"\n", "a.kdl": "include \"c.kdl\"\n", "b.kdl": "include \"c.kdl\"\n", "c.kdl": routeA},
			problems: []string{"error b.kdl:1:9: include: c.kdl is included twice; it is first included at a.kdl:1:9"},
		},
		{
			name: "duplicate across files", files: map[string]string{"s.kdl": skeleton + routeA + "include \"a.kdl\"\n", "a.kdl": "\n" + routeA}, load: "s.kdl",
			problems: []string{"error a.kdl:2:7: routes.route \"a\": duplicate route id \"a\"; it is already defined at s.kdl:4:7"},
		},
		{
			name: "problems of all files", load: "s.kdl",
			files: map[string]string{"s.kdl": skeleton + "include \"a.kdl\" \"b.kdl\"\nroute \"s\" { upstream \"u\" }\n", "a.kdl": "route \"a\" { matches { path \"a\" }; upstream \"u\" }\n", "b.kdl": "route \"b\" { matches { path \"/b\" }; upstream \"v\" }\n"},
			problems: []string{
				"error s.kdl:5:1: routes.route \"s\": the route has no match conditions", "error a.kdl:1:28: routes.route \"a\".matches.path: found",
				"error b.kdl:1:45: routes.route \"b\".upstream: unknown upstream \"v\"; defined upstreams: u",
			},
		},
		{
			name: "include without a name", files: map[string]string{"s.kdl": skeleton + "include\n"}, load: "s.kdl",
			problems: []string{"error s.kdl:4:1: include: found no file name"},
		},
		{
			name: "broken pattern", files: map[string]string{"s.kdl": skeleton + "include \"[\"\n"}, load: "s.kdl",
			problems: []string{"error s.kdl:4:9: include: cannot look for [: syntax error in pattern"},
		},
		{
			name: "missing", files: map[string]string{}, load: "s.kdl",
			problems: []string{"error s.kdl: cannot open the configuration: no such file or directory"},
		},
		{
			name: "directory with a main file", files: map[string]string{"sentinel.kdl": skeleton + routeA, "other.kdl": "nonsense"}, load: ".",
			routes: []string{"a"}, read: []string{"sentinel.kdl"},
		},
		{
			name:  "directory",
			files: map[string]string{"1.kdl": skeleton, "routes/b.kdl": routeB, "routes/a.kdl": routeA, "a.example.kdl": "nonsense", "a.kdl~": "nonsense", "a.bak.kdl": "nonsense"},
			load:  ".", routes: []string{"a", "b"}, read: []string{"1.kdl", "routes/a.kdl", "routes/b.kdl"},
		},
		{
			name: "directory of nothing", files: map[string]string{"readme.txt": ""}, load: ".",
			problems: []string{"error .: found no .kdl file in the directory"},
		},
		{
			name: "newer system block", files: map[string]string{"s.kdl": skeleton + routeA + withLimit + "include \"a.kdl\"\n", "a.kdl": withLimit}, load: "s.kdl",
			problems: []string{"error a.kdl:1:1: limits: duplicate block \"limits\"; it is already written at s.kdl:5:1"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(tree(t, test.files))
			c, problems := Load(test.load, Options{})
			var got []string
			for _, p := range problems {
				got = append(got, p.Severity.String()+" "+p.String())
			}
			if !slices.EqualFunc(got, test.problems, strings.HasPrefix) {
				t.Fatalf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.problems, "\n"))
			}
			if problems.HasErrors() {
				if c != nil {
					t.Error("a Config in spite of errors")
				}
				return
			}
			if got := routeIDs(c); !slices.Equal(got, test.routes) {
				t.Errorf("routes %q, want %q", got, test.routes)
			}
			if !slices.Equal(c.Files, test.read) || c.Path != test.load {
				t.Errorf("Path %q, Files %q, want %q, %q", c.Path, c.Files, test.load, test.read)
			}
		})
	}
}

func TestLoadRefusesPipes(t *testing.T) {
	dir := tree(t, map[string]string{"s.kdl": skeleton + routeA + "include \"*.pipe\"\n"})
	pipe := filepath.Join(dir, "x.pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, filepath.Join(dir, "s.kdl")} {
		_, problems := Load(path, Options{})
		if !strings.Contains(problems.Error(), "not a regular file") {
			t.Errorf("Load(%s): %v, want it to refuse the pipe", path, problems)
		}
	}
}

// A mounted volume shows each file as a link into a directory whose name starts with dots.
func TestLoadFollowsLinks(t *testing.T) {
	dir := tree(t, map[string]string{"..2026/s.kdl": skeleton, "..2026/a.kdl": routeA})
	for link, to := range map[string]string{"..data": "..2026", "s.kdl": "..data/s.kdl", "a.kdl": "..data/a.kdl"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	c, problems := Load(dir, Options{})
	if c == nil || !slices.Equal(c.Files, []string{filepath.Join(dir, "a.kdl"), filepath.Join(dir, "s.kdl")}) {
		t.Errorf("Load: %+v, %v; want both files by their links", c, problems)
	}
}

func TestLoadCapsTotalSize(t *testing.T) {
	big := "// " + strings.Repeat("x", 9<<20) + "\n"
	t.Chdir(tree(t, map[string]string{"s.kdl": big + skeleton + "include \"a.kdl\"\n", "a.kdl": big + routeA}))
	c, problems := Load("s.kdl", Options{})
	if c != nil || !strings.Contains(problems.Error(), "cannot read a.kdl: the configuration has more than 16 MiB") {
		t.Errorf("Load of 18 MiB: %v, want a refusal", problems)
	}
	_, problems = Parse("big.kdl", make([]byte, maxBytes+1), Options{})
	if !strings.Contains(problems.Error(), "16 MiB") {
		t.Errorf("Parse of 16 MiB and a byte: %v, want a refusal", problems)
	}
}

func TestLoadUnreadable(t *testing.T) {
	t.Chdir(tree(t, map[string]string{"s.kdl": skeleton + routeA + "include \"dead.kdl\"\n"}))
	if err := os.Symlink("dead.kdl", "dead.kdl"); err != nil {
		t.Fatal(err)
	}
	_, problems := Load("s.kdl", Options{})
	if !problems.HasErrors() || !strings.Contains(problems.Error(), "too many levels of symbolic links") {
		t.Errorf("Load: %v, want the link's error", problems)
	}
}
