package proc

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " 4242 17 17 0 -1 4194560 903 0 2 0 1250 375 11 12 20 0 9 0 99 1 2"
	tests := map[string]string{
		"plain name":                "17 (nginx) S" + rest,
		"name with spaces":          "17 (nginx: worker process) S" + rest,
		"name that looks like more": "17 (a) R 1 2) S" + rest,
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat(text)
			want := stat{parent: 4242, cpu: (1250 + 375) * 10 * time.Millisecond}
			if err != nil || got != want {
				t.Errorf("parseStat(%q) = %+v, %v, want %+v", text, got, err, want)
			}
		})
	}
}

func TestParseStatRefusesOtherText(t *testing.T) {
	for _, text := range []string{
		"",
		"17 nginx S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
		"17 (nginx) S 1 2 3",
		"17 (nginx) S x 17 17 0 -1 4194560 903 0 2 0 1250 375 11",
		"17 (nginx) S 1 17 17 0 -1 4194560 903 0 2 0 1250 x 11",
	} {
		if got, err := parseStat(text); err == nil {
			t.Errorf("parseStat(%q) = %+v, want an error", text, got)
		}
	}
}

func TestParseBusyLeavesOutIdleAndWaiting(t *testing.T) {
	got, err := parseBusy("cpu  100 20 3 90000 80000 7 5 1000 0 0\ncpu0 50 10 1 45000 40000 3 2 500 0 0\n")
	if want := (100 + 20 + 3 + 7 + 5 + 1000) * 10 * time.Millisecond; err != nil || got != want {
		t.Errorf("parseBusy = %v, %v, want %v", got, err, want)
	}
	for _, text := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3 4 5 6 x 8"} {
		if got, err := parseBusy(text); err == nil {
			t.Errorf("parseBusy(%q) = %v, want an error", text, got)
		}
	}
}

func TestParsePSS(t *testing.T) {
	const rollup = "5555-7fff ---p 00000000 00:00 0 [rollup]\nRss:  14320 kB\nPss:  10240 kB\nPss_Dirty:  99 kB\n"
	if got, err := parsePSS(rollup); err != nil || got != 10<<20 {
		t.Errorf("parsePSS = %d, %v, want 10 MiB", got, err)
	}
	for _, text := range []string{"", "Rss: 1 kB\n", "Pss: many kB\n"} {
		if got, err := parsePSS(text); err == nil {
			t.Errorf("parsePSS(%q) = %d, want an error", text, got)
		}
	}
}

func TestOwnProcess(t *testing.T) {
	pid := os.Getpid()
	if tree, err := Tree(pid); err != nil || tree[0] != pid {
		t.Errorf("Tree(%d) = %v, %v, want it to start with itself", pid, tree, err)
	}
	if used, err := Memory(pid); err != nil || used < 1<<20 {
		t.Errorf("Memory(%d) = %d, %v, want at least 1 MiB", pid, used, err)
	}
	if _, err := CPU(pid, pid); err != nil {
		t.Errorf("CPU(%d) failed: %v", pid, err)
	}
	if busy, err := Busy(); err != nil || busy <= 0 {
		t.Errorf("Busy() = %v, %v, want more than nothing", busy, err)
	}
}

// A measurement must not silently lose a process.
func TestEndedProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatalf("running a child: %v", err)
	}
	pid := cmd.Process.Pid
	if _, err := CPU(os.Getpid(), pid); err == nil {
		t.Errorf("CPU of the ended process %d succeeded", pid)
	}
	if _, err := Memory(pid); err == nil {
		t.Errorf("Memory of the ended process %d succeeded", pid)
	}
	if _, err := Tree(pid); err == nil {
		t.Errorf("Tree of the ended process %d succeeded", pid)
	}
}

func TestTreeFindsChildren(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestWaitsForInput$")
	cmd.Env = append(os.Environ(), "PROC_TEST_CHILD=1")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("making a pipe: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting a child: %v", err)
	}
	tree, err := Tree(os.Getpid())
	if err != nil || len(tree) < 2 || tree[1] != cmd.Process.Pid {
		t.Errorf("Tree = %v, %v, want %d in it", tree, err, cmd.Process.Pid)
	}
	if err := input.Close(); err != nil {
		t.Fatalf("ending the child: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the child failed: %v", err)
	}
}

// TestWaitsForInput is the child of TestTreeFindsChildren: it lives until its input ends.
func TestWaitsForInput(t *testing.T) {
	if os.Getenv("PROC_TEST_CHILD") == "" {
		return
	}
	if n, err := os.Stdin.Read(make([]byte, 1)); n != 0 {
		t.Errorf("read %d bytes, %v, want the end", n, err)
	}
}
