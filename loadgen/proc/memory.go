package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory returns the proportional set size of the processes in bytes: a page shared by n processes counts one n-th
// in each, so a master and its worker are not counted twice.
func Memory(pids ...int) (int64, error) {
	var total int64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
		}
		n, err := parsePSS(string(text))
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		total += n
	}
	return total, nil
}

func parsePSS(text string) (int64, error) {
	for line := range strings.Lines(text) {
		value, found := strings.CutPrefix(line, "Pss:")
		if !found {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("proportional set size: %w", err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("no Pss line in %q", text)
}
