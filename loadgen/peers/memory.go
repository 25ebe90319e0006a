package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/sentinel-proxy/sentinel-go/loadgen/proc"
)

const (
	settleTime  = 3 * time.Second  // between the work and a reading
	exchangeMax = 30 * time.Second // for one request, held ones included
)

// MemorySample says what an idle keep-alive connection costs one subject, in bytes of the proxy's proportional set
// size; what the kernel holds for the socket is not in it.
type MemorySample struct {
	Subject     string  `json:"subject"`
	Connections int     `json:"connections"`
	BaseBytes   int64   `json:"base_bytes"`  // before the first of them
	AfterOne    float64 `json:"after_one"`   // bytes per connection, 3 s after one request on each
	AfterBurst  float64 `json:"after_burst"` // bytes per connection, a while after all were busy at once
}

// measureMemory takes the subjects one after the other: nothing here is a rate, so they need not be interleaved.
func (b *bench) measureMemory(ctx context.Context) error {
	for _, s := range b.subjects {
		sample, err := b.memorySample(ctx, s)
		if err != nil {
			return fmt.Errorf("memory of %s: %w", s.name, err)
		}
		b.results.Memory = append(b.results.Memory, sample)
		b.progress("P9 %-9s %.2f KiB per idle connection, %.2f KiB %v after all were busy",
			s.name, sample.AfterOne/1024, sample.AfterBurst/1024, b.MemoryWait)
	}
	return nil
}

func (b *bench) memorySample(ctx context.Context, s subject) (MemorySample, error) {
	h, err := startHolder(ctx, b.MemoryConnections)
	if err != nil {
		return MemorySample{}, err
	}
	defer h.stop()
	st := setup{Backend: h.address, Dir: filepath.Join(b.dir, "memory", s.name), Connections: b.MemoryConnections + 2*connections}
	p, err := b.startProxy(ctx, s, st, false)
	if err != nil {
		return MemorySample{}, err
	}
	defer p.stop()
	if err := b.keepConfig("memory", p); err != nil {
		return MemorySample{}, err
	}
	if err := warm(ctx, p.Listen); err != nil {
		return MemorySample{}, err
	}
	return b.weigh(ctx, p)
}

// weigh reads the memory before, between and after the two kinds of use.
func (b *bench) weigh(ctx context.Context, p *process) (MemorySample, error) {
	base, err := readMemory(ctx, p, settleTime)
	if err != nil {
		return MemorySample{}, err
	}
	c, err := openClients(ctx, p.Listen, b.MemoryConnections)
	defer c.close()
	if err != nil {
		return MemorySample{}, err
	}
	if err := c.each(); err != nil {
		return MemorySample{}, err
	}
	one, err := readMemory(ctx, p, settleTime)
	if err != nil {
		return MemorySample{}, err
	}
	if err := c.together("/hold"); err != nil {
		return MemorySample{}, err
	}
	burst, err := readMemory(ctx, p, b.MemoryWait)
	if err != nil {
		return MemorySample{}, err
	}
	n := float64(b.MemoryConnections)
	return MemorySample{
		Subject:     p.name,
		Connections: b.MemoryConnections,
		BaseBytes:   base,
		AfterOne:    float64(one-base) / n,
		AfterBurst:  float64(burst-base) / n,
	}, nil
}

// readMemory waits and reads.
func readMemory(ctx context.Context, p *process, wait time.Duration) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-p.exited:
		return 0, errors.New("the proxy ended")
	case <-time.After(wait):
		return proc.Memory(p.pids...)
	}
}

// warm gives the proxy the memory it needs whatever the number of connections: some of them, used and closed.
func warm(ctx context.Context, to netip.AddrPort) error {
	c, err := openClients(ctx, to, connections)
	defer c.close()
	for i := 0; i < 16 && err == nil; i++ {
		err = c.each()
	}
	return err
}

// clients are keep-alive connections to one proxy.
type clients []net.Conn

func openClients(ctx context.Context, to netip.AddrPort, n int) (c clients, err error) {
	var d net.Dialer
	for range n {
		conn, err := d.DialContext(ctx, "tcp", to.String())
		if err != nil {
			return c, fmt.Errorf("opening connection %d: %w", len(c)+1, err)
		}
		c = append(c, conn)
	}
	return c, nil
}

// smallPath is the origin's 1 KiB answer.
const smallPath = "/1k"

// each makes one request on each connection, one after the other.
func (c clients) each() error {
	for _, conn := range c {
		if err := send(conn, smallPath); err != nil {
			return err
		}
		if err := receive(conn); err != nil {
			return err
		}
	}
	return nil
}

// together makes one request on each connection before it reads any answer.
func (c clients) together(path string) error {
	for _, conn := range c {
		if err := send(conn, path); err != nil {
			return err
		}
	}
	for _, conn := range c {
		if err := receive(conn); err != nil {
			return err
		}
	}
	return nil
}

func (c clients) close() {
	for _, conn := range c {
		_ = conn.Close() // nothing is left to be written
	}
}

func send(conn net.Conn, path string) error {
	if err := conn.SetDeadline(time.Now().Add(exchangeMax)); err != nil {
		return err
	}
	_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+conn.RemoteAddr().String()+"\r\n\r\n")
	return err
}

func receive(conn net.Conn) error {
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %s", answer.Status)
	}
	return answer.Body.Close()
}
