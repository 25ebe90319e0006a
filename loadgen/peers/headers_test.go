package peers

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// serveText answers the first bytes of every connection with text and closes it.
func serveText(t *testing.T, text string) netip.AddrPort {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := c.Read(make([]byte, 4096)); err == nil {
				_, _ = c.Write([]byte(text))
			}
			_ = c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// answerWith makes an answer with one line for each name, except for what is left out.
func answerWith(leftOut string) string {
	lines := func(names []string) string {
		var b strings.Builder
		for _, name := range names {
			if name == leftOut {
				fmt.Fprintf(&b, "%s:\r\n", name)
			} else {
				fmt.Fprintf(&b, "%s: value\r\n", name)
			}
		}
		return b.String()
	}
	echoed := lines(toOrigin) + "\r\n"
	return fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", lines(toClient), len(echoed), echoed)
}

func TestCheckHeaders(t *testing.T) {
	p := &process{subject: subject{name: "proxy"}, setup: setup{Listen: serveText(t, answerWith(""))}}
	if err := checkHeaders(t.Context(), p); err != nil {
		t.Errorf("checkHeaders = %v", err)
	}
	for _, name := range append([]string{"Via", "X-Frame-Options"}, toOrigin[0]) {
		t.Run("without "+name, func(t *testing.T) {
			p := &process{subject: subject{name: "proxy"}, setup: setup{Listen: serveText(t, answerWith(name))}}
			if err := checkHeaders(t.Context(), p); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("checkHeaders = %v, want it to name %s", err, name)
			}
		})
	}
}
