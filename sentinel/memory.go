package sentinel

import (
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/limit"
)

// memory keeps the process below max-memory. The sweeper looks at it.
type memory struct {
	limit.Memory
	read       func() int64 // bytes in use
	collector  int64        // the limit given to the garbage collector; 0: it has its own
	original   int64        // what it had
	collecting atomic.Bool
}

// collectEvery is how often garbage is collected for the sake of memory that is short, in ticks.
const collectEvery = 10

// memoryLimit is what max-memory-bytes and max-memory-percent come to, in bytes; 0: no limit.
func (p *Proxy) memoryLimit(c *config.Limits) int64 {
	bytes := c.MaxMemory
	if c.MaxMemoryPercent == 0 {
		return bytes
	}
	machine := limit.MachineMemory(os.DirFS("/"))
	if machine == 0 {
		p.remark(slog.LevelWarn, "max-memory-percent has no effect: nobody says how much memory there is")
		return bytes
	}
	share := int64(float64(machine) * c.MaxMemoryPercent / 100)
	if bytes == 0 {
		return share
	}
	return min(bytes, share)
}

// goMemory returns a function that says how much memory the process holds, as GOMEMLIMIT counts: all that Go
// has got from the system and not given back. It is for one goroutine.
func goMemory() func() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	return func() int64 {
		metrics.Read(s)
		return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
	}
}

// watchMemory is called at every tick by the sweeper.
func (p *Proxy) watchMemory(now tick) {
	m := &p.limits.memory
	m.instruct()
	if m.Limit() == 0 && !m.Short() {
		return
	}
	used := m.read()
	if m.Observe(used) {
		what := "memory is enough again"
		if m.Short() {
			what = "memory is short: refusing requests"
		}
		p.remark(slog.LevelWarn, what, slog.Bool("short", m.Short()), slog.Int64("bytes", used), slog.Int64("limit", m.Limit()))
	}
	if m.Short() && now%collectEvery == 0 && m.collecting.CompareAndSwap(false, true) {
		// With nothing new coming in there may be no collection for minutes.
		go m.collect()
	}
}

// collect runs as its own goroutine, since it stops for a collection.
func (m *memory) collect() {
	debug.FreeOSMemory()
	m.collecting.Store(false)
}

// instruct passes the limit on to the garbage collector when it has changed.
func (m *memory) instruct() {
	want := int64(0)
	if m.Limit() > 0 {
		want = m.Collector()
	}
	switch {
	case want == m.collector:
		return
	case m.collector == 0:
		m.original = debug.SetMemoryLimit(want)
	case want == 0:
		debug.SetMemoryLimit(m.original)
	default:
		debug.SetMemoryLimit(want)
	}
	m.collector = want
}

// since is the proxy's own clock: monotonic, from its start.
func (p *Proxy) since(t time.Time) time.Duration { return t.Sub(p.began) }
