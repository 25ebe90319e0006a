package main

import (
	_ "embed"
	"fmt"
	"os"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

//go:embed advice.txt
var advice string

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: runbook FILE")
		os.Exit(2)
	}
	page, err := write(advice, sentinel.Reasons())
	if err == nil {
		err = os.WriteFile(os.Args[1], []byte(page), 0o644) //nolint:gosec // G306: it is a page for everybody
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "runbook:", err)
		os.Exit(1)
	}
}
