package sentinel

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

const (
	// settle is for how long the files must have been left alone: a file may be written in pieces, or several one
	// after the other.
	settle = 200 * time.Millisecond
	// settleAtMost is when a reload comes all the same.
	settleAtMost = 2 * time.Second
	// lookAgain is how often directories that are missing are looked for.
	lookAgain = time.Second
)

// watchList is what the last reading of the configuration looked at, successful or not: whatever of it changes, the
// next reading may end differently.
type watchList struct {
	paths   []string
	sum     [sha256.Size]byte // of their contents then
	enabled bool              // auto-reload is on in the configuration that is served
}

// watching is how readings of the configuration tell what they looked at to who watches.
type watching struct {
	list    atomic.Pointer[watchList]
	changed chan struct{} // list has changed
}

// reading is one reading of the configuration, on its way.
type reading struct {
	before  *watchList // of the reading before; nil: there was none
	sum     [sha256.Size]byte
	visited []string
}

// begin notes what the files contain before they are read: a change meanwhile must not be taken for what was read.
func (w *watching) begin() *reading {
	r := &reading{before: w.list.Load()}
	if r.before != nil {
		r.sum = fingerprint(r.before.paths)
	}
	return r
}

func (r *reading) visit(path string) { r.visited = append(r.visited, path) }

// end remembers what a reading looked at. cfg is what came of it; nil: nothing.
func (w *watching) end(r *reading, cfg *config.Config, enabled bool) {
	paths := r.visited
	if cfg != nil {
		paths = append(paths, namedFiles(cfg)...)
	} else if r.before != nil {
		paths = append(paths, r.before.paths...) // the files that the broken one would have named
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if r.before == nil || !slices.Equal(paths, r.before.paths) {
		r.sum = fingerprint(paths)
	}
	w.list.Store(&watchList{paths: paths, sum: r.sum, enabled: enabled})
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// namedFiles lists the files whose content is part of what a configuration means.
func namedFiles(c *config.Config) (list []string) {
	for i := range c.Listeners {
		if t := c.Listeners[i].TLS; t != nil {
			list = append(list, t.CertFile, t.KeyFile, t.CAFile)
			for _, sni := range t.SNI {
				list = append(list, sni.CertFile, sni.KeyFile)
			}
		}
	}
	for i := range c.Upstreams {
		list = append(list, upstreamFiles(c.Upstreams[i].TLS)...)
	}
	for i := range c.Agents {
		list = append(list, agentFiles(c.Agents[i].TLS)...)
	}
	for i := range c.Routes {
		if pages := c.Routes[i].ErrorPages; pages != nil {
			for _, page := range pages.Pages {
				if page.Template != "" {
					list = append(list, filepath.Join(pages.TemplateDir, page.Template))
				}
			}
		}
	}
	return list
}

// fingerprint is what files contain and which names directories hold.
func fingerprint(paths []string) [sha256.Size]byte {
	d := digests{}
	for _, path := range paths {
		entries, err := os.ReadDir(path)
		if err != nil { // no directory
			d.add(path)
			continue
		}
		var names strings.Builder
		for _, e := range entries {
			names.WriteString(e.Name() + "\n")
		}
		d[path] = sha256.Sum256([]byte(names.String()))
	}
	return d.sum()
}

// watch reloads when files of the configuration change, while auto-reload is on, until the proxy ends.
func (p *Proxy) watch() {
	defer p.survive("auto-reload")
	for {
		if list := p.watching.list.Load(); list != nil && list.enabled {
			p.watchWhileEnabled()
		}
		select {
		case <-p.watching.changed:
		case <-p.stopped:
			return
		}
	}
}

// watchWhileEnabled watches the directories, not the files: an editor renames a new file over the old one, and a
// mounted ConfigMap swaps a link to the directory that holds it.
func (p *Proxy) watchWhileEnabled() {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		p.log.Error("auto-reload does not work, reload by hand", "error", err.Error())
		return
	}
	defer func() { _ = w.Close() }()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	settled := time.NewTimer(0) // the files may have changed since they were read
	defer settled.Stop()
	var first time.Time // of the changes that settled waits for
	for list := p.watching.list.Load(); list.enabled; list = p.watching.list.Load() {
		watchDirectories(w, list.paths)
		select {
		case <-w.Events:
			now := time.Now()
			if first.IsZero() {
				first = now
			}
			settled.Reset(max(0, min(settle, settleAtMost-now.Sub(first))))
		case <-settled.C:
			first = time.Time{}
			p.reloadIfChanged()
		case err := <-w.Errors: // events were lost: look
			p.log.Warn("auto-reload lost events", "error", err.Error())
			settled.Reset(settle)
		case <-again.C:
		case <-p.watching.changed:
		case <-p.stopped:
			return
		}
	}
}

// reloadIfChanged reloads unless the files are what they were when they were read last.
func (p *Proxy) reloadIfChanged() {
	list := p.watching.list.Load()
	if fingerprint(list.paths) == list.sum {
		return
	}
	<-p.joinReload("auto-reload").done // its outcome is in the log
}

// watchDirectories adds the directories of paths, and of where links among them lead. One that is missing, or that
// was removed and is back, is tried again at the next call.
func watchDirectories(w *fsnotify.Watcher, paths []string) {
	watched := map[string]bool{}
	for _, dir := range w.WatchList() {
		watched[dir] = true
	}
	add := func(dir string) {
		if !watched[dir] {
			watched[dir] = true
			_ = w.Add(dir) // it may come later
		}
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			add(filepath.Clean(path))
		}
		add(filepath.Dir(path))
		if real, err := filepath.EvalSymlinks(path); err == nil {
			add(filepath.Dir(real))
		}
	}
}
