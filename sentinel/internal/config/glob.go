package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxVisited bounds the directory entries one pattern may look at: `/**` must not read a whole disk.
const maxVisited = 100_000

var errTooManyEntries = errors.New("more than 100,000 directory entries to look at")

// globber expands one pattern.
type globber struct {
	visit   func(path string) // told of every file and directory that is looked at
	found   []string
	visited int
}

// glob returns the files a pattern matches, sorted. A relative pattern counts from dir. * ? and […]
// match within a name, ** any number of directories; only a pattern that says so matches a name with a
// leading dot (the link farm of a mounted volume has such names). visit is told of what was looked at.
func glob(dir, pattern string, visit func(path string)) ([]string, error) {
	if filepath.IsAbs(pattern) {
		dir = "/"
	}
	var parts []string
	for part := range strings.SplitSeq(pattern, "/") {
		if _, err := filepath.Match(part, ""); err != nil {
			return nil, err
		}
		repeated := part == "**" && len(parts) > 0 && parts[len(parts)-1] == "**"
		if part != "" && !repeated {
			parts = append(parts, part)
		}
	}
	g := globber{visit: visit}
	err := g.walk(dir, parts)
	slices.Sort(g.found)
	return slices.Compact(g.found), err
}

// walk matches parts, one for each path element, from dir on.
func (g *globber) walk(dir string, parts []string) error {
	switch {
	case len(parts) == 0:
		return nil
	case parts[0] == "**":
		return g.walkTree(dir, parts)
	case strings.ContainsAny(parts[0], `*?[\`):
		return g.walkMatches(dir, parts)
	}
	path := filepath.Join(dir, parts[0])
	g.visit(path) // also if it is not there: it may come
	return g.step(path, parts[1:])
}

// step goes on with a path that matched so far: a file at the end of the pattern, a directory before.
func (g *globber) step(path string, rest []string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return g.walk(path, rest)
	case len(rest) == 0:
		g.found = append(g.found, path)
	}
	return nil
}

func (g *globber) walkMatches(dir string, parts []string) error {
	entries, err := g.entries(dir)
	for _, e := range entries {
		matched, _ := filepath.Match(parts[0], e.Name()) // glob checked the pattern
		if !matched || e.Name()[0] == '.' && parts[0][0] != '.' {
			continue
		}
		if err := g.step(filepath.Join(dir, e.Name()), parts[1:]); err != nil {
			return err
		}
	}
	return err
}

// walkTree matches a leading ** in dir itself and in every directory below it. It does not follow
// links, which could lead around in circles.
func (g *globber) walkTree(dir string, parts []string) error {
	if err := g.walk(dir, parts[1:]); err != nil {
		return err
	}
	entries, err := g.entries(dir)
	for _, e := range entries {
		if !e.IsDir() || e.Name()[0] == '.' {
			continue
		}
		if err := g.walkTree(filepath.Join(dir, e.Name()), parts); err != nil {
			return err
		}
	}
	return err
}

func (g *globber) entries(dir string) ([]os.DirEntry, error) {
	g.visit(dir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if g.visited += len(entries); g.visited > maxVisited {
		return nil, errTooManyEntries
	}
	return entries, err
}
