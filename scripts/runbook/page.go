package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

const adviceFile = "scripts/runbook/advice.txt"

// entry is the advice for one Reason.
type entry struct{ wake, means, do string }

// wakes are the words for whether somebody has to get up, worst first, and what they say on the page.
var wakes = []struct{ word, text string }{
	{"always", "get up: one is too many"},
	{"many", "get up when there are many: users notice"},
	{"watch", "look in the morning, sooner when the rate has changed"},
	{"never", "stay in bed: it is the answer to what somebody else did"},
}

// parse reads advice: for each Reason a line with its word in brackets, then `wake`, `means` and `do`, each one line.
func parse(text string) (map[string]entry, error) {
	entries := map[string]entry{}
	for i, part := range strings.Split("\n"+text, "\n[")[1:] {
		word, rest, _ := strings.Cut(part, "]\n")
		e := entry{}
		for line := range strings.Lines(rest) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch key {
			case "wake":
				e.wake = value
			case "means":
				e.means = value
			case "do":
				e.do = value
			case "":
			default:
				return nil, fmt.Errorf("%s: %s: a line that is none of wake, means, do: %q", adviceFile, word, line)
			}
		}
		if _, twice := entries[word]; twice {
			return nil, fmt.Errorf("%s: entry %d: a second one for %s", adviceFile, i+1, word)
		}
		entries[word] = e
	}
	return entries, nil
}

// check holds the advice against the Reasons and returns all that is wrong.
func check(entries map[string]entry, reasons []sentinel.ReasonInfo) error {
	var all []error
	known := map[string]bool{}
	for _, r := range reasons {
		known[r.Word] = true
		e, written := entries[r.Word]
		switch {
		case !written:
			all = append(all, fmt.Errorf("the Reason %s has no runbook text: add [%s] with wake, means and do to %s, then make docs", r.Word, r.Word, adviceFile))
		case wakeText(e.wake) == "":
			all = append(all, fmt.Errorf("%s: %s: wake is %q; want always, many, watch or never", adviceFile, r.Word, e.wake))
		case e.means == "" || e.do == "":
			all = append(all, fmt.Errorf("%s: %s: means or do is missing", adviceFile, r.Word))
		}
	}
	for word := range entries {
		if !known[word] {
			all = append(all, fmt.Errorf("%s: there is no Reason %s", adviceFile, word))
		}
	}
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(all...)
}

func wakeText(word string) string {
	for _, w := range wakes {
		if w.word == word {
			return w.text
		}
	}
	return ""
}

// write returns the page.
func write(text string, reasons []sentinel.ReasonInfo) (string, error) {
	entries, err := parse(text)
	if err == nil {
		err = check(entries, reasons)
	}
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(preface)
	for _, w := range wakes {
		var words []string
		for _, r := range reasons {
			if entries[r.Word].wake == w.word {
				words = append(words, fmt.Sprintf("[`%s`](#%s)", r.Word, r.Word))
			}
		}
		fmt.Fprintf(&out, "- **%s**, %s: %s\n", w.word, w.text, strings.Join(words, ", "))
	}
	source := sentinel.Source("")
	for _, r := range bySource(reasons) {
		if r.Source != source {
			source = r.Source
			fmt.Fprintf(&out, "\n## %s\n", titles[source])
		}
		e := entries[r.Word]
		fmt.Fprintf(&out, "\n### %s\n\n%s · %s · retry: %s\n\n%s\n\n**At 3 AM**: %s\n\n**Do**: %s\n", r.Word, status(r.Status), e.wake, r.Retry, r.Help, e.means, e.do)
	}
	return out.String(), nil
}

func status(code int) string {
	if code == 0 {
		return "cut without an answer"
	}
	return fmt.Sprint(code)
}

// order is who is to blame, as the page has it; titles are its headings.
var (
	order  = []sentinel.Source{sentinel.FromInternal, sentinel.FromUpstream, sentinel.FromAgent, sentinel.FromPolicy, sentinel.FromClient}
	titles = map[sentinel.Source]string{
		sentinel.FromInternal: "The proxy itself", sentinel.FromUpstream: "Upstreams", sentinel.FromAgent: "Agents",
		sentinel.FromPolicy: "The configuration's rules", sentinel.FromClient: "Clients",
	}
)

func bySource(reasons []sentinel.ReasonInfo) []sentinel.ReasonInfo {
	sorted := slices.Clone(reasons)
	slices.SortStableFunc(sorted, func(a, b sentinel.ReasonInfo) int {
		return slices.Index(order, a.Source) - slices.Index(order, b.Source)
	})
	return sorted
}

const preface = `# Runbook

<!-- Written by make docs from sentinel.Reasons() and scripts/runbook/advice.txt: change those. -->

A Reason is why a request was no plain relay. The same word is ` + "`error`" + ` in the access log, ` + "`error_type`" + ` in the error log,
` + "`reason`" + ` in the audit log and a label of metrics. Find out which one it is:

` + "```" + `
curl -s 127.0.0.1:9090/metrics | grep -E 'blocked_requests_total|upstream_failures_total|agent_errors_total'
jq -r 'select(.error) | .error' /var/log/sentinel/access.log | sort | uniq -c | sort -rn | head
` + "```" + `

then which route, upstream and client it hits (` + "`route_id`, `upstream_addr`, `client_ip`" + ` in the access log), then read on
here. [logs-and-metrics.md](logs-and-metrics.md) has every name. [operations.md](operations.md) says how to reload, drain and upgrade.

`
