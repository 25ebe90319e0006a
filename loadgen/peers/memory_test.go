package peers

import (
	"context"
	"net/netip"
	"os"
	"testing"
)

func TestHolderAnswersWhenAllAreThere(t *testing.T) {
	h, err := startHolder(t.Context(), 20)
	if err != nil {
		t.Fatal(err)
	}
	defer h.stop()
	c, err := openClients(t.Context(), h.address, 20)
	defer c.close()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.each(); err != nil {
		t.Errorf("one after the other: %v", err)
	}
	if err := c.together("/hold"); err != nil {
		t.Errorf("all at once: %v", err)
	}
}

// The last one is missing, so the others must still be waiting when their client leaves.
func TestHolderHolds(t *testing.T) {
	h := &holder{missing: 2, all: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if h.hold(ctx) {
		t.Error("one of two was answered alone")
	}
	if !h.hold(t.Context()) {
		t.Error("the second was not answered although both had come")
	}
}

func TestOpenClientsNeedsAListener(t *testing.T) {
	nobody, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := openClients(t.Context(), nobody, 1)
	defer c.close()
	if err == nil {
		t.Error("a connection to a closed port was opened")
	}
	if err := warm(t.Context(), nobody); err == nil {
		t.Error("a closed port was warmed up")
	}
}

func TestClientsRefuseErrorAnswers(t *testing.T) {
	address := serveText(t, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	c, err := openClients(t.Context(), address, 1)
	defer c.close()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.each(); err == nil {
		t.Error("a 503 counted as an answer")
	}
}

func TestReadMemoryNoticesTheEnd(t *testing.T) {
	p := &process{exited: make(chan struct{}), pids: []int{os.Getpid()}}
	if used, err := readMemory(t.Context(), p, 0); err != nil || used <= 0 {
		t.Errorf("readMemory = %d, %v, want this process's memory", used, err)
	}
	close(p.exited)
	if used, err := readMemory(t.Context(), p, exchangeMax); err == nil {
		t.Errorf("readMemory of an ended proxy = %d", used)
	}
}

func TestFreePortIsOnLoopback(t *testing.T) {
	got, err := freePort(t.Context())
	if err != nil || got.Addr() != netip.MustParseAddr("127.0.0.1") || got.Port() == 0 {
		t.Errorf("freePort = %v, %v", got, err)
	}
}
