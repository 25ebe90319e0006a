package health

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	userAgent = "Sentinel-HealthCheck/1.0"
	headMax   = 64 << 10 // bytes of response heads, informational ones too
	listMax   = 8        // expected statuses that an error names
)

// http sends one GET on a connection of its own and finds a target healthy by the status of the answer. It
// uses the codec of net/http without its client: no redirects, cookies, proxies, pools or goroutines, and
// nobody reads the body.
func (p *Probe) http(ctx context.Context) error {
	request, err := p.request()
	if err != nil {
		return err
	}
	c, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	if p.TLS != nil {
		if err := c.secure(ctx, p.TLS, "http/1.1"); err != nil {
			return err
		}
	}
	if err := request.Write(c); err != nil {
		return explain(ctx, err, "request not sent")
	}
	status, err := readStatus(ctx, c)
	if err != nil {
		return err
	}
	return p.judge(status)
}

func (p *Probe) request() (*http.Request, error) {
	path, host := p.Path, p.Host
	if path == "" {
		path = "/"
	}
	if host == "" {
		host = p.Address
	}
	target, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, failure("path is not a request target")
	}
	if strings.ContainsFunc(host, notInHost) {
		return nil, failure("host is not a host") // Request.Write would send an empty one
	}
	return &http.Request{
		Method: http.MethodGet, URL: target, Host: host, Close: true,
		Header: http.Header{"User-Agent": {userAgent}},
	}, nil
}

// notInHost reports whether c has no place in a Host field, RFC 3986 3.2.2.
func notInHost(c rune) bool {
	return c <= ' ' || c == 0x7f || strings.ContainsRune("\"#/<>?@\\^`{|}", c)
}

// readStatus reads heads until the final one, and returns its status.
func readStatus(ctx context.Context, r io.Reader) (int, error) {
	limited := &io.LimitedReader{R: r, N: headMax}
	buffered := bufio.NewReader(limited)
	for {
		// Closing the body would read it to its end; closing the connection is what frees it.
		head, err := http.ReadResponse(buffered, nil) //nolint:bodyclose // see above
		switch {
		case err != nil && limited.N <= 0:
			return 0, failure("response head too large")
		case err != nil:
			return 0, explain(ctx, err, "no HTTP response")
		case head.ProtoMajor != 1 || head.StatusCode < 100:
			return 0, failure("no HTTP response")
		case head.StatusCode >= 200 || head.StatusCode == http.StatusSwitchingProtocols:
			return head.StatusCode, nil
		}
	}
}

// judge says whether a status is one of those that are healthy.
func (p *Probe) judge(status int) error {
	if len(p.ExpectedStatus) == 0 {
		if status/100 == 2 {
			return nil
		}
		return failure(fmt.Sprintf("status %d, expected 2xx", status))
	}
	if slices.Contains(p.ExpectedStatus, status) {
		return nil
	}
	named := p.ExpectedStatus[:min(len(p.ExpectedStatus), listMax)]
	list := strings.Trim(strings.ReplaceAll(fmt.Sprint(named), " ", ", "), "[]")
	if len(named) < len(p.ExpectedStatus) {
		list += ", ..."
	}
	return failure(fmt.Sprintf("status %d, expected %s", status, list))
}
