package conformance

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	agentsPage  = "../docs/agents.md"
	tableMarker = "<!-- failure-table: conformance/agents_table_test.go plays every cell. -->"
)

// failureCells are a row of the documentation's table, without its first column.
type failureCells struct{ reason, requestClosed, requestOpen, responseClosed, responseOpen string }

// failureTable reads the table of failures, by what happened.
func failureTable(t testing.TB) map[string]failureCells {
	t.Helper()
	text, err := os.ReadFile(agentsPage)
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), tableMarker+"\n\n")
	if !found {
		t.Fatalf("%s has no line %s", agentsPage, tableMarker)
	}
	table, _, _ := strings.Cut(after, "\n\n")
	lines := strings.Split(table, "\n")
	const head = "| What happened | Reason | Request, closed | Request, open | Response, closed | Response, open |"
	if len(lines) < 3 || lines[0] != head {
		t.Fatalf("%s: the table of failures begins %q, want %q", agentsPage, lines[0], head)
	}
	rows := map[string]failureCells{}
	for _, line := range lines[2:] {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != 6 {
			t.Fatalf("%s: %d cells in %q, want 6", agentsPage, len(cells), line)
		}
		if _, twice := rows[cells[0]]; twice {
			t.Errorf("%s: two rows for %q", agentsPage, cells[0])
		}
		rows[cells[0]] = failureCells{strings.Trim(cells[1], "`"), cells[2], cells[3], cells[4], cells[5]}
	}
	return rows
}

// TestAgentFailureTable holds the documentation's table of failures against what TestAgentFailures plays: every
// row has a scenario, every scenario a row, and each cell says what the scenarios demand.
func TestAgentFailureTable(t *testing.T) {
	t.Parallel()
	documented := failureTable(t)
	played := map[string]failureCells{}
	for _, f := range failings(t) {
		if f.well() {
			continue
		}
		cells := failureCells{
			reason: f.reason, requestClosed: fmt.Sprint(agentStatus[f.reason]), requestOpen: "passes",
			responseClosed: fmt.Sprint(agentStatus["agent_response_failed"]), responseOpen: "passes",
		}
		if before, known := played[f.class]; known && before != cells {
			t.Errorf("%s: %q makes it %+v, others of its row %+v", f.class, f.name, cells, before)
		}
		played[f.class] = cells
	}
	for _, class := range slices.Sorted(maps.Keys(documented)) {
		if got, known := played[class]; !known {
			t.Errorf("%s: no scenario plays %q", agentsPage, class)
		} else if got != documented[class] {
			t.Errorf("%s says of %q %+v, the scenarios want %+v", agentsPage, class, documented[class], got)
		}
	}
	for class := range played {
		if _, known := documented[class]; !known {
			t.Errorf("%s has no row for %q", agentsPage, class)
		}
	}
}
