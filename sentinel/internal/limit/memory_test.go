package limit

import (
	"io/fs"
	"math"
	"testing"
	"testing/fstest"
)

// TestMemory walks up and down: shedding begins before the limit and ends well below where it began.
func TestMemory(t *testing.T) {
	t.Parallel()
	var m Memory
	if m.Observe(math.MaxInt64) || m.Short() || m.Collector() != math.MaxInt64 {
		t.Error("no limit is a limit")
	}
	m.Resize(1000)
	if m.Collector() != 850 || m.Limit() != 1000 {
		t.Errorf("the collector gets %d", m.Collector())
	}
	for i, step := range []struct {
		used    int64
		short   bool
		changed bool
	}{
		{500, false, false},
		{949, false, false},
		{950, true, true},
		{2000, true, false},
		{900, true, false},
		{899, false, true},
		{949, false, false},
		{950, true, true},
	} {
		if changed := m.Observe(step.used); changed != step.changed || m.Short() != step.short {
			t.Errorf("step %d, %d in use: short %t, changed %t", i, step.used, m.Short(), changed)
		}
	}
	m.Resize(0)
	if !m.Observe(2000) || m.Short() {
		t.Error("a limit that is gone still holds")
	}
}

func TestMachineMemory(t *testing.T) {
	t.Parallel()
	const info = "MemTotal:        2048 kB\nMemFree:          100 kB\n"
	for name, row := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing":      {nil, 0},
		"machine":      {map[string]string{"proc/meminfo": info}, 2 << 20},
		"broken":       {map[string]string{"proc/meminfo": "MemTotal: many kB\n"}, 0},
		"no limit":     {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 2 << 20},
		"own group":    {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "4096\n"}, 4096},
		"group above":  {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "8192\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 8192},
		"container":    {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4096\n"}, 4096},
		"host's path":  {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/memory.max": "4096\n"}, 4096},
		"version 1":    {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "3:cpu,cpuacct:/\n4:memory:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4096\n"}, 4096},
		"1, no limit":  {map[string]string{"proc/meminfo": info, "proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 2 << 20},
		"nothing else": {map[string]string{"proc/self/cgroup": "garbage\n0::/\n", "sys/fs/cgroup/memory.max": "4096"}, 4096},
	} {
		files := fstest.MapFS{}
		for path, text := range row.files {
			files[path] = &fstest.MapFile{Data: []byte(text)}
		}
		var root fs.FS = files
		if got := MachineMemory(root); got != row.want {
			t.Errorf("%s: %d, want %d", name, got, row.want)
		}
	}
}
