package attack

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const answer = "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length:  5\r\n\r\nhello"

func TestResponseEndsAtItsLastByteHoweverSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r response
		for rest := answer; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			done, err := r.feed([]byte(rest[:n]))
			rest = rest[n:]
			if err != nil || done != (rest == "") {
				t.Fatalf("with %d bytes to come: feed = %v, %v", len(rest), done, err)
			}
		}
	})
}

func TestResponseWithoutBody(t *testing.T) {
	var r response
	if done, err := r.feed([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")); !done || err != nil {
		t.Errorf("feed = %v, %v, want a complete answer", done, err)
	}
}

func TestResponseRefuses(t *testing.T) {
	tests := map[string]string{
		"another status":          "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		"another version":         "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"no length":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a length that is none":   "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
		"a negative length":       "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
		"bytes after the end":     answer + "H",
		"a head that never ends":  "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead),
		"something not like HTTP": "220 mail.example ESMTP\r\n\r\n",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			var r response
			if done, err := r.feed([]byte(text)); err == nil {
				t.Errorf("feed = %v, want an error", done)
			}
		})
	}
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte(answer), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if cut < 0 || cut > len(b) {
			return
		}
		var whole, split response
		wholeDone, wholeErr := whole.feed(b)
		splitDone, splitErr := split.feed(b[:cut])
		if splitErr == nil && !splitDone && cut < len(b) {
			splitDone, splitErr = split.feed(b[cut:])
		}
		if wholeErr == nil && (splitErr != nil || splitDone != wholeDone) {
			t.Errorf("whole: %v, split at %d: %v, %v", wholeDone, cut, splitDone, splitErr)
		}
	})
}
