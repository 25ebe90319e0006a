package sentinel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Status is what a proxy says of itself to who runs it.
type Status struct {
	Version         string           `json:"version"`
	InstanceID      string           `json:"instance_id"`
	PID             int              `json:"pid"`
	State           string           `json:"state"` // "starting", "serving" or "draining"
	StartedAt       time.Time        `json:"started_at"`
	Config          string           `json:"config"`
	Generation      uint64           `json:"generation"`
	GenerationsLive int              `json:"generations_live"`
	ReloadsOK       int              `json:"reloads_succeeded"`
	ReloadsFailed   int              `json:"reloads_failed"`
	LastReload      *ReloadResult    `json:"last_reload"` // null: there was none
	LastReloadOK    *time.Time       `json:"last_successful_reload_at"`
	Connections     int64            `json:"open_connections"`
	Requests        int64            `json:"active_requests"`
	Listeners       []ListenerStatus `json:"listeners"`
	Upstreams       []UpstreamStatus `json:"upstreams"`
}

// ListenerStatus is where a listener listens.
type ListenerStatus struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

// UpstreamStatus is how many of an upstream's targets are well.
type UpstreamStatus struct {
	ID      string `json:"id"`
	Healthy int    `json:"healthy"`
	Targets int    `json:"targets"`
}

// Status returns the present state. It may be called from any goroutine.
func (p *Proxy) Status() Status {
	s := p.snapshot.Load()
	st := Status{
		Version: Version, InstanceID: p.instance, PID: os.Getpid(), State: "starting", StartedAt: p.began, Config: p.options.name(),
		Generation: s.generation, Connections: p.metrics.OpenConnections.Value(), Requests: p.metrics.ActiveRequests.Value(),
	}
	p.lifecycle.Lock()
	st.GenerationsLive = 1 + len(p.retiring)
	if p.serving {
		st.State = "serving"
	}
	p.lifecycle.Unlock()
	if p.draining.Load() {
		st.State = "draining"
	}
	p.reloads.tell(&st)
	for i := range s.cfg.Listeners {
		l := s.listeners[socketKey(&s.cfg.Listeners[i])]
		st.Listeners = append(st.Listeners, ListenerStatus{l.id, l.socket.nl.Addr().String()})
	}
	for _, pool := range s.pools {
		u := UpstreamStatus{ID: pool.ID, Targets: len(pool.Targets())}
		for _, t := range pool.Targets() {
			if t.State(time.Now()).Healthy {
				u.Healthy++
			}
		}
		st.Upstreams = append(st.Upstreams, u)
	}
	return st
}

func (r *reloads) tell(st *Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st.LastReload, st.ReloadsFailed, st.ReloadsOK = r.last, r.counts[0], r.counts[1]
	if at := r.lastOK; !at.IsZero() {
		st.LastReloadOK = &at
	}
}

// admin serves the operator on a Unix socket: root and the proxy's own user, nobody else.
type admin struct {
	path   string
	bound  string // where the socket is until it is published
	nl     *net.UnixListener
	inode  uint64 // of the socket's file, which is removed at the end if it is still ours
	server *http.Server
}

// checkAdmin finds out whether the admin socket can be opened. It is not kept: a process that is killed before it serves
// would leave a file behind.
func (p *Proxy) checkAdmin(path string) error {
	a, err := p.openAdmin(path)
	if err == nil {
		a.close()
	}
	return err
}

// openAdmin binds the admin socket, under another name: a process that has the right one keeps it until this one
// serves. After an upgrade it is about to end then, and two proxies with one configuration fail on their listeners.
func (p *Proxy) openAdmin(path string) (*admin, error) {
	bound := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d", filepath.Base(path), os.Getpid()))
	_ = os.Remove(bound) // of a process that had this id and was killed
	nl, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", bound)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	a := &admin{path: path, bound: bound, nl: nl.(*net.UnixListener)}
	a.nl.SetUnlinkOnClose(false)
	var info unix.Stat_t
	if err = errors.Join(os.Chmod(bound, 0o600), unix.Stat(bound, &info)); err != nil {
		_ = nl.Close()
		_ = os.Remove(bound)
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	a.inode = info.Ino
	a.server = &http.Server{
		Handler: p.adminPages(), ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	return a, nil
}

// serveAdmin opens the socket, gives it its name, and answers until close.
func (p *Proxy) serveAdmin() {
	path := p.snapshot.Load().cfg.System.AdminSocket
	if path == "" {
		return
	}
	var err error
	if p.admin, err = p.openAdmin(path); err == nil {
		err = os.Rename(p.admin.bound, path)
	}
	if err != nil {
		p.log.Error("no admin socket", "error", err.Error())
		return
	}
	go func() { _ = p.admin.server.Serve(p.admin) }()
}

func (a *admin) close() {
	_ = a.server.Close()
	_ = a.nl.Close()
	for _, name := range [...]string{a.bound, a.path} {
		var info unix.Stat_t
		if unix.Stat(name, &info) == nil && info.Ino == a.inode { // else it is another process's
			_ = os.Remove(name)
		}
	}
}

// Accept returns connections of root and of the proxy's own user: the file's mode holds for who connects, and was
// wider for a moment.
func (a *admin) Accept() (net.Conn, error) {
	for {
		nc, err := a.nl.AcceptUnix()
		if err != nil || mayAdminister(nc) {
			return nc, err
		}
		_ = nc.Close()
	}
}

// Close is part of net.Listener.
func (a *admin) Close() error { return a.nl.Close() }

// Addr is part of net.Listener.
func (a *admin) Addr() net.Addr { return a.nl.Addr() }

func mayAdminister(nc *net.UnixConn) (ok bool) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		ok = err == nil && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid())
	})
	return ok
}

func (p *Proxy) adminPages() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeAdmin(w, http.StatusOK, p.Status()) })
	pages.HandleFunc("POST /reload", p.adminReload)
	pages.HandleFunc("GET /pprof/{name}", adminProfile)
	return pages
}

// adminReload answers at once, or, asked to wait, when the reload is over: 200, or 422 when it failed.
func (p *Proxy) adminReload(w http.ResponseWriter, r *http.Request) {
	if wait, _ := strconv.ParseBool(r.URL.Query().Get("wait")); !wait {
		p.joinReload("admin")
		w.WriteHeader(http.StatusAccepted)
		return
	}
	result, err := p.Reload(r.Context(), "admin")
	switch {
	case result == nil || errors.Is(err, errNotServing):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case err != nil:
		writeAdmin(w, http.StatusUnprocessableEntity, result)
	default:
		writeAdmin(w, http.StatusOK, result)
	}
}

// maxProfile bounds how long a processor profile may take.
const maxProfile = time.Minute

// adminProfile answers with one of runtime/pprof's profiles: "goroutine", "heap", …, which ?debug=1 makes text, or "cpu"
// over ?seconds=.
func adminProfile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if name == "cpu" {
		seconds, err := strconv.Atoi(r.URL.Query().Get("seconds"))
		if err != nil || seconds < 1 || time.Duration(seconds)*time.Second > maxProfile {
			http.Error(w, "expected ?seconds= from 1 to 60", http.StatusBadRequest)
			return
		}
		if err := pprof.StartCPUProfile(w); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		defer pprof.StopCPUProfile()
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-r.Context().Done():
		}
		return
	}
	profile := pprof.Lookup(name)
	if profile == nil {
		http.NotFound(w, r)
		return
	}
	debug, _ := strconv.Atoi(r.URL.Query().Get("debug"))
	_ = profile.WriteTo(w, debug) // whoever asked has left
}

func writeAdmin(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // whoever asked has left
}
