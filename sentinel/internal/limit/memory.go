package limit

import (
	"io/fs"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
)

// The marks of a Memory, in percent of its limit. The garbage collector works harder from collectAt on, so
// that garbage alone never gets to shedAt; calmAt is above collectAt, since memory of up to that may be in
// use for good.
const (
	collectAt = 85
	calmAt    = 90
	shedAt    = 95
)

// Memory says whether memory is short. The zero value has no limit. All methods are safe for concurrent use.
type Memory struct {
	limit atomic.Int64 // bytes; 0: none
	short atomic.Bool
}

// Resize sets the limit in bytes; 0: none.
func (m *Memory) Resize(limit int64) { m.limit.Store(limit) }

// Limit returns the limit in bytes; 0: none.
func (m *Memory) Limit() int64 { return m.limit.Load() }

// Collector returns what the garbage collector's own limit should be, in bytes.
func (m *Memory) Collector() int64 {
	if limit := m.limit.Load(); limit > 0 {
		return share(limit, collectAt)
	}
	return math.MaxInt64
}

// Observe takes note of how many bytes are in use, and reports whether Short has changed.
func (m *Memory) Observe(used int64) (changed bool) {
	limit, short := m.limit.Load(), m.short.Load()
	mark := shedAt
	if short {
		mark = calmAt // not on and off with every request
	}
	now := limit > 0 && used >= share(limit, mark)
	m.short.Store(now)
	return now != short
}

// Short reports whether memory is short: no new work should begin.
func (m *Memory) Short() bool { return m.short.Load() }

func share(limit int64, percent int) int64 { return max(1, int64(float64(limit)*float64(percent)/100)) }

// MachineMemory returns the bytes that this process may use: what the control groups it is in allow, or what
// the machine has if that is less. root is the root of the file system. 0: nobody knows.
func MachineMemory(root fs.FS) (bytes int64) {
	for _, n := range append(groupLimits(root), meminfo(root)) {
		if n > 0 && (bytes == 0 || n < bytes) {
			bytes = n
		}
	}
	return bytes
}

// groupLimits reads the limit of the process's control group and of those above it, of both versions.
func groupLimits(root fs.FS) (limits []int64) {
	groups, _ := fs.ReadFile(root, "proc/self/cgroup") // absent: no groups
	for line := range strings.Lines(string(groups)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		base, name := "", ""
		switch {
		case part[0] == "0" && part[1] == "":
			base, name = "sys/fs/cgroup", "memory.max"
		case strings.Contains(","+part[1]+",", ",memory,"):
			base, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// In a container the path is the host's, of which only the end is mounted: the mount's root always counts.
		for path := strings.Trim(part[2], "/"); path != ""; path = parent(path) {
			limits = append(limits, number(root, base+"/"+path+"/"+name))
		}
		limits = append(limits, number(root, base+"/"+name))
	}
	return limits
}

func parent(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '/'))]
}

// number reads a file that holds a number of bytes; 0: it does not.
func number(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil { // "max", or more than there can be
		return 0
	}
	return n
}

// meminfo returns the memory of the machine.
func meminfo(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
