package peers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// holder is an origin that answers /hold only when a given number of requests for it wait at the same time: then
// every connection through the proxy is busy at once. Its own speed does not matter.
type holder struct {
	address netip.AddrPort
	server  *http.Server
	served  chan struct{} // closed when the server has ended

	mu      sync.Mutex // guards missing
	missing int        // requests for /hold still to come
	all     chan struct{}
}

func startHolder(ctx context.Context, n int) (*holder, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the holding origin: %w", err)
	}
	h := &holder{
		address: l.Addr().(*net.TCPAddr).AddrPort(),
		served:  make(chan struct{}),
		missing: n,
		all:     make(chan struct{}),
	}
	h.server = &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Hour}
	go h.serve(l)
	return h, nil
}

func (h *holder) serve(l net.Listener) {
	_ = h.server.Serve(l) // ends with ErrServerClosed; anything else shows as failed requests
	close(h.served)
}

// ServeHTTP answers with 1 KiB.
func (h *holder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hold" && !h.hold(r.Context()) {
		http.Error(w, "the others did not come", http.StatusGatewayTimeout)
		return
	}
	_, _ = io.WriteString(w, body) // a client that left is noticed by the other side
}

// hold waits until all requests are there; false means that they did not come in time.
func (h *holder) hold(ctx context.Context) bool {
	h.mu.Lock()
	h.missing--
	if h.missing == 0 {
		close(h.all)
	}
	h.mu.Unlock()
	select {
	case <-h.all:
		return true
	case <-ctx.Done():
		return false
	case <-time.After(exchangeMax / 2):
		return false
	}
}

func (h *holder) stop() {
	_ = h.server.Close() // the proxy's connections may end as they like
	<-h.served
}
