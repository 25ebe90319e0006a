package sentinel

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
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

// watchList is what the last reading of the configuration looked at, successful or not, and what was there then:
// whatever of it changes, the next reading may end differently.
type watchList struct {
	seen    digests
	enabled bool // auto-reload is on in the configuration that is served
}

// watching is how readings of the configuration tell what they looked at to who watches.
type watching struct {
	list    atomic.Pointer[watchList]
	changed chan struct{} // list has changed
}

// reading is one reading of the configuration. Each file is looked at before it is read: a change meanwhile must not
// be taken for what was read.
type reading struct{ seen digests }

func newReading() *reading { return &reading{digests{}} }

func (r *reading) visit(path string) { r.seen.add(path) }

// end remembers what a reading looked at. Of one that failed, it is not all: what the reading before looked at may
// still be what keeps it from succeeding.
func (w *watching) end(r *reading, failed, enabled bool) {
	if before := w.list.Load(); failed && before != nil {
		for path, content := range before.seen {
			if _, known := r.seen[path]; !known {
				r.seen[path] = content
			}
		}
	}
	w.list.Store(&watchList{r.seen, enabled})
	select {
	case w.changed <- struct{}{}:
	default:
	}
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
	for p.watching.list.Load().enabled {
		select {
		case <-w.Events:
			now := time.Now()
			if first.IsZero() {
				first = now
			}
			settled.Reset(max(0, min(settle, settleAtMost-now.Sub(first))))
		case <-settled.C:
			first = time.Time{}
			p.watchDirectories(w)
			p.reloadIfChanged()
		case err := <-w.Errors: // events were lost: look
			p.log.Warn("auto-reload lost events", "error", err.Error())
			settled.Reset(settle)
		case <-again.C:
			if p.watchDirectories(w) { // what is new there was not told of
				settled.Reset(settle)
			}
		case <-p.watching.changed:
			if p.watchDirectories(w) {
				settled.Reset(settle)
			}
		case <-p.stopped:
			return
		}
	}
}

// reloadIfChanged reloads unless the files are what they were when they were read last.
func (p *Proxy) reloadIfChanged() {
	seen := p.watching.list.Load().seen
	now := digests{}
	now.add(slices.Collect(maps.Keys(seen))...)
	if maps.Equal(now, seen) {
		return
	}
	<-p.joinReload("auto-reload").done // its outcome is in the log
}

// watchDirectories watches the directories of what was read, and of where links among it lead, and reports whether
// there are new ones: one that was missing, or was removed and is back, or that a link leads to now.
func (p *Proxy) watchDirectories(w *fsnotify.Watcher) (more bool) {
	watched := map[string]bool{}
	for _, dir := range w.WatchList() {
		watched[dir] = true
	}
	add := func(dir string) {
		if watched[dir] {
			return
		}
		watched[dir] = true
		switch err := w.Add(dir); {
		case err == nil:
			more = true
		case !errors.Is(err, fs.ErrNotExist): // else it may come
			p.log.Warn("auto-reload cannot watch a directory", "directory", dir, "error", err.Error())
		}
	}
	for path := range p.watching.list.Load().seen {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			add(filepath.Clean(path))
		}
		add(filepath.Dir(path))
		if real, err := filepath.EvalSymlinks(path); err == nil {
			add(filepath.Dir(real))
		}
	}
	return more
}
