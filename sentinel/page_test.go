package sentinel

import (
	"encoding/json"
	"encoding/xml"
	"html"
	"strings"
	"testing"
	"time"
)

// hostile is text that means something in every format an error page can have.
const hostile = `"}<script>alert('1')</script>&amp;]]>{{message}}` + "\n"

// TestErrorPages shows that nothing in an error page breaks out of its format, in our own pages and in an
// operator's templates.
func TestErrorPages(t *testing.T) {
	t.Parallel()
	f := errorFacts{
		status: 503, title: hostile, message: hostile, code: "SERVICE_UNAVAILABLE", requestID: hostile, unix: 1, retry: 1,
	}
	t.Run("json", func(t *testing.T) {
		p := f.render("json")
		var got struct {
			Error struct {
				Code, Message string
				CorrelationID string `json:"correlation_id"`
				RetryAfter    int    `json:"retry_after"`
			}
			Status                int
			Title, Message        string
			RequestID             string `json:"request_id"`
			Timestamp             int64
			Path, Reason, Details *string
		}
		if err := json.Unmarshal([]byte(p.body), &got); err != nil {
			t.Fatalf("%v in %s", err, p.body)
		}
		if got.Error.Code != f.code || got.Error.Message != hostile || got.Error.CorrelationID != hostile || got.Error.RetryAfter != 1 {
			t.Errorf("error: %+v", got.Error)
		}
		if got.Status != 503 || got.Title != hostile || got.Message != hostile || got.RequestID != hostile || got.Timestamp != 1 {
			t.Errorf("flat members: %+v", got)
		}
		if strings.Contains(p.body, "<script") {
			t.Error("markup in JSON is not escaped")
		}
	})
	t.Run("html", func(t *testing.T) {
		for name, body := range map[string]string{"ours": f.render("html").body, "template": f.fill("<b>{{request_id}}</b>{{title}}{{message}}", "html")} {
			if strings.Contains(body, "<script") || !strings.Contains(body, html.EscapeString(hostile)) {
				t.Errorf("%s: %s", name, body)
			}
		}
	})
	t.Run("xml", func(t *testing.T) {
		for name, body := range map[string]string{
			"ours":     f.render("xml").body,
			"template": f.fill("<error><message>{{message}}</message><request_id>{{request_id}}</request_id></error>", "xml"),
		} {
			var got struct {
				XMLName   xml.Name `xml:"error"`
				Message   string   `xml:"message"`
				RequestID string   `xml:"request_id"`
			}
			if err := xml.Unmarshal([]byte(body), &got); err != nil || got.Message != hostile || got.RequestID != hostile {
				t.Errorf("%s: %+v, %v in %s", name, got, err, body)
			}
		}
	})
	t.Run("text", func(t *testing.T) {
		if got, want := f.render("text").body, "503 "+hostile+"\n"+hostile+"\nRequest id: "+hostile+"\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
	t.Run("template in one pass", func(t *testing.T) {
		if got := f.fill("{{status}} {{timestamp}} {{unknown}} {{request_id}}", "text"); got != "503 1 {{unknown}} "+hostile {
			t.Errorf("%q", got)
		}
	})
}

func TestErrorPageTypes(t *testing.T) {
	t.Parallel()
	f := errorFacts{status: 404, title: "Not Found"}
	for format, want := range map[string]string{
		"json": "application/json; charset=utf-8", "html": "text/html; charset=utf-8", "text": "text/plain; charset=utf-8",
		"xml": "application/xml; charset=utf-8", "": "application/json; charset=utf-8",
	} {
		if got := f.render(format).contentType; got != want {
			t.Errorf("%q is %s, want %s", format, got, want)
		}
	}
	if body := f.render("json").body; strings.Contains(body, "retry_after") {
		t.Errorf("a 404 says when to retry: %s", body)
	}
}

// TestMessages shows that every status a Reason can have has a sentence of its own.
func TestMessages(t *testing.T) {
	t.Parallel()
	for i, r := range Reasons() {
		if isRuling(Reason(i + 1)) { // an agent's words
			continue
		}
		if r.Status != 0 && r.Status != 499 && strings.Contains(messageFor(r.Status), "HTTP") && r.Status != 505 {
			t.Errorf("%s: status %d has no message", r.Word, r.Status)
		}
	}
	if got := messageFor(418); got != "An error occurred (HTTP 418)" {
		t.Errorf("%q", got)
	}
}

func TestSpell(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 999 * time.Millisecond: "0s", time.Second: "1s", 61 * time.Second: "1m 1s", time.Hour: "1h 0m 0s",
		26*time.Hour + 3*time.Minute + 4*time.Second: "1d 2h 3m 4s", 24 * time.Hour: "1d 0h 0m 0s",
	} {
		if got := spell(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
