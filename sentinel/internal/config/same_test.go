package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestSame reads configurations that mean the same, written in other places, and ones that differ in one value.
func TestSame(t *testing.T) {
	t.Parallel()
	read := func(text string) *Config {
		c, problems := Parse("same.kdl", []byte(text), Options{Resources: ResourcesOff})
		if problems.HasErrors() {
			t.Fatalf("%v\n%s", problems, text)
		}
		return c
	}
	const base = `listener "main" { address "127.0.0.1:1" }
route "r" { matches { path-regex "^/a+$"; host "a.example"; header "X" "1" }; upstream "u"; error-pages { pages { "404" { message "gone" } } } }
upstream "u" { target "127.0.0.1:1" { metadata { zone "a" } }; health-check { type "http" } }
agents { agent "a" { unix-socket "/s"; config { b 1 } } }
`
	a := read(base)
	if b := read("// moved\n\n" + base); !Same(a, b) {
		t.Error("a configuration differs from itself with a comment before it")
	}
	for _, change := range [][2]string{
		{`a+`, `b+`},
		{`127.0.0.1:1" }`, `127.0.0.1:2" }`},
		{`zone "a"`, `zone "b"`},
		{`zone "a"`, `rack "a"`},
		{`"gone"`, `"lost"`},
		{`"1"`, `"2"`},
		{`"X" "1"`, `"X"`},
		{`{ type "http" }`, `{ type "tcp" }`},
		{`; health-check { type "http" }`, ``},
		{`b 1`, `b 2`},
		{`a.example`, `b.example`},
	} {
		if b := read(replaceOnce(t, base, change[0], change[1])); Same(a, b) {
			t.Errorf("%s in place of %s makes no difference", change[1], change[0])
		}
	}
}

func replaceOnce(t *testing.T, s, old, next string) string {
	t.Helper()
	if !strings.Contains(s, old) {
		t.Fatalf("no %q", old)
	}
	return strings.Replace(s, old, next, 1)
}

// TestSameSeesEveryField changes each field of the types that reloads compare, one after the other.
func TestSameSeesEveryField(t *testing.T) {
	t.Parallel()
	for _, empty := range []any{Route{}, Upstream{}, Agent{}, Filter{}, Limits{}, Policies{}, Logging{}, UpstreamTLS{}} {
		typ := reflect.TypeOf(empty)
		for i := range typ.NumField() {
			a, b := reflect.New(typ), reflect.New(typ)
			if !fill(b.Elem().Field(i)) {
				continue
			}
			differs := !same(a, b)
			if wants := typ.Field(i).Type != posType; differs != wants {
				t.Errorf("%s.%s: differs is %t, want %t", typ, typ.Field(i).Name, differs, wants)
			}
		}
	}
}

// fill gives a value something that is not its zero; false: it does not know how.
func fill(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(time.Second))
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Struct:
		for i := range v.NumField() {
			if fill(v.Field(i)) {
				return true
			}
		}
		return false
	default:
		return false
	}
	return true
}

// TestVisit shows that whoever watches is told of every file, of those that cannot be read, and of the directories
// that patterns look into.
func TestVisit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(at("more.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"sentinel.kdl": "include \"more.d/*.kdl\" \"missing.kdl\"\n", "more.d/a.kdl": "route {",
	} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	if _, problems := Load(at("sentinel.kdl"), Options{Visit: func(path string) { seen[path] = true }}); !problems.HasErrors() {
		t.Error("a broken file was taken")
	}
	for _, want := range []string{at("sentinel.kdl"), at("more.d"), at("more.d/a.kdl"), at("missing.kdl")} {
		if !seen[want] {
			t.Errorf("nobody was told of %s: %v", want, seen)
		}
	}
}
