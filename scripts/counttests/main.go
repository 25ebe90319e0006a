// Command counttests reads `go test -json`, shows what failed, and ends with a line that counts the tests.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	counts, err := count(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "counttests:", err)
		os.Exit(1)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", counts["pass"], counts["fail"], counts["skip"])
	if counts["fail"] > 0 || counts["pass"] == 0 {
		os.Exit(1)
	}
}

// event is one line of `go test -json`.
type event struct{ Action, Package, Test, Output string }

// count returns how many tests passed, failed and were skipped. The output of what failed goes to out; a
// package that fails without a failed test, because it did not build, counts as one.
func count(in io.Reader, out io.Writer) (map[string]int, error) {
	counts, output, blamed := map[string]int{}, map[string]string{}, map[string]bool{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			_, _ = fmt.Fprintln(out, lines.Text()) // the tool chain's own words
			continue
		}
		name := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			output[name] += e.Output
		case "fail":
			_, _ = fmt.Fprint(out, output[name])
			if e.Test != "" || !blamed[e.Package] {
				counts["fail"]++
			}
			blamed[e.Package] = true
		case "pass", "skip":
			if e.Test != "" {
				counts[e.Action]++
			}
			delete(output, name)
		}
	}
	return counts, lines.Err()
}
