// Command counttests reads `go test -json` and ends with a line that counts the tests.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	counts := map[string]int{}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var event struct{ Action, Test, Output string }
		if err := json.Unmarshal(in.Bytes(), &event); err != nil {
			continue // the tool chain's own lines
		}
		if event.Test != "" {
			counts[event.Action]++
		}
	}
	if err := in.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "counttests:", err)
		os.Exit(1)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", counts["pass"], counts["fail"], counts["skip"])
	if counts["fail"] > 0 || counts["pass"] == 0 {
		os.Exit(1)
	}
}
