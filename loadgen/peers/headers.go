package peers

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/textproto"
)

// What every proxy must add, so that all do the same work.
var (
	toOrigin = []string{
		"X-Correlation-Id", "X-Trace-Id", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
		"X-Forwarded-By", "Via",
	}
	toClient = []string{
		"X-Correlation-Id", "X-Content-Type-Options", "X-Frame-Options", "X-XSS-Protection", "Referrer-Policy",
	}
)

// checkHeaders asks the origin through the proxy which request headers arrived there, and looks at the answer's own.
func checkHeaders(ctx context.Context, p *process) error {
	answer, err := get(ctx, p.url("/headers"))
	if err != nil {
		return fmt.Errorf("checking the headers of %s: %w", p.name, err)
	}
	defer answer.Body.Close() //nolint:errcheck // What matters was read.
	arrived, err := textproto.NewReader(bufio.NewReader(io.LimitReader(answer.Body, 8<<10))).ReadMIMEHeader()
	if err != nil {
		return fmt.Errorf("checking the headers of %s: %w", p.name, err)
	}
	if name := firstMissing(arrived, toOrigin); name != "" {
		return fmt.Errorf("%s does not send %s to the origin", p.name, name)
	}
	if name := firstMissing(textproto.MIMEHeader(answer.Header), toClient); name != "" {
		return fmt.Errorf("%s does not send %s to the client", p.name, name)
	}
	return nil
}

func firstMissing(h textproto.MIMEHeader, names []string) string {
	for _, name := range names {
		if h.Get(name) == "" {
			return name
		}
	}
	return ""
}
