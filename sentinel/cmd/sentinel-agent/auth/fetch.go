package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of fetching.
const (
	firstRetry   = time.Second // after a failure; doubled by each that follows
	maxRetry     = time.Minute
	maxRedirects = 3

	// patience is how long a request waits for keys. It is less than proxies wait for agents, so that
	// tokens with made-up keys and a slow URL together do not make the agent look dead.
	patience = 500 * time.Millisecond
)

// remote is a JWKS URL. run fetches it; the other methods may be used from any goroutine meanwhile.
type remote struct {
	Keys
	client *http.Client
	wanted chan struct{} // has room for one wish to fetch
	ended  chan struct{} // closed when run has returned
	known  atomic.Pointer[fetched]

	mu       sync.Mutex    // guards the rest
	done     chan struct{} // closed at the end of the fetch under way, or of the next
	fetching bool
	tried    time.Time // when the last fetch began
}

// fetched is what a fetch brought.
type fetched struct {
	keys []key
	at   time.Time
}

func newRemote(k Keys, transport http.RoundTripper) *remote {
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: 64 << 10, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
			ForceAttemptHTTP2: true,
		}
	}
	return &remote{
		Keys:   k,
		client: &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		wanted: make(chan struct{}, 1), ended: make(chan struct{}), done: make(chan struct{}),
	}
}

// checkRedirect follows a few redirects, and none to where the keys could be exchanged on their way.
func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	local := via[0].URL.Scheme == "http" && loopback(r.URL.Hostname())
	if r.URL.Scheme != "https" && !local {
		return errors.New("redirected to plain text")
	}
	return nil
}

// current returns the keys; errUnavailable: they are not known, or too old to be trusted.
func (r *remote) current() ([]key, error) {
	f := r.known.Load()
	if f == nil || time.Since(f.at) > r.MaxStale {
		return nil, errUnavailable
	}
	return f.keys, nil
}

// refresh has the keys fetched and waits until they are, but no longer than its patience, or until ctx ends. It does nothing if the last fetch was
// begun less than MinRefresh ago and has ended: anybody can name unknown keys.
func (r *remote) refresh(ctx context.Context) {
	r.mu.Lock()
	wait, done := r.fetching || r.mayFetchLocked(), r.done
	r.mu.Unlock()
	if !wait {
		return
	}
	select {
	case r.wanted <- struct{}{}:
	default: // somebody else wished for it
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-done:
	case <-r.ended:
	case <-ctx.Done():
	}
}

func (r *remote) mayFetchLocked() bool {
	return r.tried.IsZero() || time.Since(r.tried) >= r.MinRefresh
}

// run fetches the keys at once, whenever they get old, and when refresh asks for it, until ctx ends.
func (r *remote) run(ctx context.Context) {
	defer close(r.ended)
	defer r.client.CloseIdleConnections()
	for retry := firstRetry; ; {
		wait := r.Refresh
		if err := r.fetch(ctx); err == nil {
			retry = firstRetry
		} else if ctx.Err() == nil {
			slog.WarnContext(ctx, "keys not fetched", "error", err)
			wait = min(retry, r.Refresh)
			retry = min(2*retry, maxRetry)
		}
		if !r.rest(ctx, wait) {
			return
		}
	}
}

// rest waits until it is time to fetch again; false: ctx has ended.
func (r *remote) rest(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-r.wanted:
			r.mu.Lock()
			may := r.mayFetchLocked()
			r.mu.Unlock()
			if may { // else it is a wish that the last fetch has granted
				return true
			}
		}
	}
}

// fetch fetches the keys once, and tells who waits for them.
func (r *remote) fetch(ctx context.Context) error {
	r.mu.Lock()
	r.fetching, r.tried = true, time.Now()
	r.mu.Unlock()
	keys, err := r.get(ctx)
	if err == nil {
		r.known.Store(&fetched{keys, time.Now()})
		slog.DebugContext(ctx, "keys fetched", "keys", len(keys))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetching = false
	close(r.done)
	r.done = make(chan struct{})
	return err
}

func (r *remote) get(ctx context.Context) ([]key, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.JWKSURL, nil)
	if err != nil {
		return nil, fmt.Errorf("jwks-url: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetching: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // what was read counts
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer has status %d", resp.StatusCode)
	}
	text, err := readLimit(resp.Body)
	if err != nil {
		return nil, err
	}
	return parseJWKS(text)
}
