package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// The environment of a process that is to be a proxy: its configuration, the ids of its listeners, and how
// many descriptors it may have.
const (
	outpostConfig    = "CONFORMANCE_OUTPOST_CONFIG"
	outpostListeners = "CONFORMANCE_OUTPOST_LISTENERS"
	outpostFiles     = "CONFORMANCE_OUTPOST_FILES"
)

// outpostMain serves as a proxy when this program was started for that, until its input ends: what it holds,
// uses and runs out of is then its own, not the tests'. Each line of input asks how much it holds.
func outpostMain() {
	path, asked := os.LookupEnv(outpostConfig)
	if !asked {
		return
	}
	if err := serveOutpost(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serveOutpost(path string) error {
	if n, err := strconv.ParseUint(os.Getenv(outpostFiles), 10, 63); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	p, err := sentinel.New(sentinel.Options{Path: path})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	for id := range strings.SplitSeq(os.Getenv(outpostListeners), " ") {
		fmt.Println(p.Addr(id))
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		fmt.Println(runtime.NumGoroutine(), m.HeapAlloc)
	}
	cancel()
	<-ended
	return nil
}

// outpost is a proxy in a process of its own.
type outpost struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	told   textLog           // its standard error
	addrs  map[string]string // by listener
	access string            // its access log
	ended  bool
}

// garrison starts a proxy with a configuration in which ACCESS stands for the file of its access log, until
// the test ends. files bounds its descriptors; 0: nothing does.
func garrison(t testing.TB, text string, files int, listeners ...string) *outpost {
	t.Helper()
	dir := t.TempDir()
	p := &outpost{addrs: map[string]string{}, access: filepath.Join(dir, "access.log")}
	config := filepath.Join(dir, "outpost.kdl")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(text, "ACCESS", p.access)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(os.Args[0]) // it ends with its input
	p.cmd.Env = append(os.Environ(), outpostConfig+"="+config, outpostListeners+"="+strings.Join(listeners, " "))
	if files > 0 {
		p.cmd.Env = append(p.cmd.Env, outpostFiles+"="+strconv.Itoa(files))
	}
	p.cmd.Stderr = &p.told
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(t) })
	for _, id := range listeners {
		p.addrs[id] = p.say(t)
	}
	return p
}

// say reads one line of what the process says.
func (p *outpost) say(t testing.TB) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the proxy's process has ended: %v\n%s", err, &p.told)
	}
	return strings.TrimSpace(line)
}

// end has the process drain and checks that it ends well. It may be called again.
func (p *outpost) end(t testing.TB) {
	t.Helper()
	if p.ended {
		return
	}
	p.ended = true
	_ = p.in.Close()
	overdue := time.AfterFunc(3**patience, func() { _ = p.cmd.Process.Kill() })
	defer overdue.Stop()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the proxy's process: %v\n%s", err, &p.told)
	}
}

// burden is what the process holds.
type burden struct {
	goroutines, descriptors int
	heap, resident          uint64 // bytes; resident is what the system says
}

func (p *outpost) holds(t testing.TB) (b burden) {
	t.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		t.Fatalf("the proxy's process has ended: %v\n%s", err, &p.told)
	}
	if _, err := fmt.Sscan(p.say(t), &b.goroutines, &b.heap); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir(p.proc("fd"))
	if err != nil {
		t.Fatal(err)
	}
	b.descriptors = len(open)
	b.resident = p.resident(t)
	return b
}

func (p *outpost) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), name)
}

// resident is the process's memory, in bytes.
func (p *outpost) resident(t testing.TB) uint64 {
	t.Helper()
	text, err := os.ReadFile(p.proc("statm"))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages uint64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}

// cpu is the processor time that the process has used.
func (p *outpost) cpu(t testing.TB) time.Duration {
	t.Helper()
	text, err := os.ReadFile(p.proc("stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name before may be anything
	fields := strings.Fields(rest)
	user, errUser := strconv.Atoi(fields[11])
	system, errSystem := strconv.Atoi(fields[12])
	if err := errors.Join(errUser, errSystem); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}

// settles waits until the process holds what it should.
func (p *outpost) settles(t testing.TB, well func(burden) bool) burden {
	t.Helper()
	limit := time.NewTimer(2 * *patience)
	defer limit.Stop()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		b := p.holds(t)
		if well(b) {
			return b
		}
		select {
		case <-again.C:
		case <-limit.C:
			t.Fatalf("the proxy still holds %+v\n%s", b, &p.told)
		}
	}
}

// reasons counts the lines of the access log by what they say went wrong. The proxy must have ended.
func (p *outpost) reasons(t testing.TB) map[string]int {
	t.Helper()
	text, err := os.ReadFile(p.access)
	if err != nil {
		t.Fatal(err)
	}
	log, counts := &accessLog{}, map[string]int{}
	_, _ = log.Write(text)
	for _, line := range log.snapshot() {
		counts[line.Error]++
	}
	if len(log.bad) > 0 {
		t.Errorf("access lines that are no JSON: %q", log.bad)
	}
	return counts
}
