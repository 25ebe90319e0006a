package telemetry

import (
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process samples the resources of this process.
type process struct {
	mu      sync.Mutex    // guards the fields below
	sampled time.Time     // when cpu was taken
	cpu     time.Duration // user and system time until then
}

// cpuPercent returns the CPU time used since the last call as a share of the wall time, 100 for one
// CPU kept busy.
func (p *process) cpuPercent() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	now := time.Now()

	p.mu.Lock()
	defer p.mu.Unlock()
	used, passed := cpu-p.cpu, now.Sub(p.sampled)
	p.cpu, p.sampled = cpu, now
	if passed <= 0 {
		return 0
	}
	return 100 * float64(used) / float64(passed)
}

// memoryBytes returns the resident set, or what the Go runtime holds where /proc is missing.
func memoryBytes() float64 {
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(statm)); len(fields) > 1 {
			if pages, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
				return float64(pages) * float64(os.Getpagesize())
			}
		}
	}
	total := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(total)
	return float64(total[0].Value.Uint64())
}
