package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat is what we use of /proc/PID/stat.
type stat struct {
	parent int
	cpu    time.Duration // user + system
}

// CPU returns the user and system time the processes have used so far, in steps of 10 ms.
// A process that has ended is an error: its time would be missing from a difference.
func CPU(pids ...int) (time.Duration, error) {
	var total time.Duration
	for _, pid := range pids {
		s, err := readStat(pid)
		if err != nil {
			return 0, err
		}
		total += s.cpu
	}
	return total, nil
}

// Busy returns the time all processors of the machine have spent working, stolen time included, in steps of 10 ms.
func Busy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("reading the machine's processor time: %w", err)
	}
	return parseBusy(string(text))
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, fmt.Errorf("reading the processor time of process %d: %w", pid, err)
	}
	s, err := parseStat(string(text))
	if err != nil {
		return stat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return s, nil
}

// parseStat reads /proc/PID/stat. The second field is the program's name in parentheses and may itself hold
// spaces and parentheses, so fields are counted from the last one.
func parseStat(text string) (stat, error) {
	end := strings.LastIndexByte(text, ')')
	fields := strings.Fields(text[end+1:])
	if end < 0 || len(fields) < 13 {
		return stat{}, fmt.Errorf("short stat line %q", text)
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, fmt.Errorf("parent in stat line: %w", err)
	}
	ticks, err := sumTicks(fields[11:13])
	if err != nil {
		return stat{}, err
	}
	return stat{parent: parent, cpu: ticks}, nil
}

// parseBusy reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
func parseBusy(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("unknown first line %q", line)
	}
	working, err := sumTicks(fields[1:4])
	if err != nil {
		return 0, err
	}
	interrupts, err := sumTicks(fields[6:9])
	return working + interrupts, err
}

func sumTicks(fields []string) (time.Duration, error) {
	var total time.Duration
	for _, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("processor time: %w", err)
		}
		total += time.Duration(n) * tick
	}
	return total, nil
}
