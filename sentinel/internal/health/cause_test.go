package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// hostile is what targets put wherever they can. No error may have any of it.
const hostile = "EVIL-\x1b[31m-\xff"

func TestExplain(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	late, stop := context.WithTimeout(t.Context(), 0)
	defer stop()
	first := make([]bool, len(causes)) // lines of the table that are somebody's first match
	for _, test := range []struct {
		name string
		ctx  context.Context
		err  error
		want string
	}{
		{"refused", t.Context(), &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "connection refused"},
		{"reset", t.Context(), syscall.ECONNRESET, "connection reset"},
		{"pipe", t.Context(), syscall.EPIPE, "connection reset"},
		{"host", t.Context(), syscall.EHOSTUNREACH, "host unreachable"},
		{"network", t.Context(), syscall.ENETUNREACH, "network unreachable"},
		{"descriptors", t.Context(), syscall.ENFILE, "no descriptor left"},
		{"ports", t.Context(), syscall.EADDRNOTAVAIL, "no local address or port left"},
		{"permission", t.Context(), syscall.EPERM, "not permitted"},
		{"kernel's timeout", t.Context(), syscall.ETIMEDOUT, "timeout"},
		{"deadline of a connection", t.Context(), os.ErrDeadlineExceeded, "timeout"},
		{"deadline of the context", t.Context(), context.DeadlineExceeded, "timeout"},
		{"cancelled", t.Context(), context.Canceled, "cancelled"},
		{"closed by us", t.Context(), net.ErrClosed, "connection closed"},
		{"end", t.Context(), io.EOF, "connection closed"},
		{"unexpected end", t.Context(), fmt.Errorf("reading %q: %w", hostile, io.ErrUnexpectedEOF), "connection closed"},
		{"name server", t.Context(), &net.DNSError{Err: hostile, Name: hostile, IsTimeout: true}, "timeout of the name server"},
		{"name", t.Context(), &net.DNSError{Err: hostile, Name: hostile}, "name does not resolve"},
		{"address", t.Context(), &net.AddrError{Err: hostile, Addr: hostile}, "not an address"},
		{"number", t.Context(), &net.ParseError{Type: hostile, Text: hostile}, "not an address"},
		{"authority", t.Context(), &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "certificate: unknown authority"},
		{"certificate's name", t.Context(), x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{hostile}}, Host: hostile}, "certificate: wrong name"},
		{"expired", t.Context(), x509.CertificateInvalidError{Reason: x509.Expired, Detail: hostile}, "certificate: expired or not yet valid"},
		{"certificate", t.Context(), &tls.CertificateVerificationError{Err: errors.New(hostile)}, "certificate: not valid"},
		{"record", t.Context(), tls.RecordHeaderError{Msg: hostile}, "no TLS answer"},
		{"alert", t.Context(), &net.OpError{Op: "remote error", Err: errors.New(hostile)}, "TLS refused by the target"},
		{"unknown", t.Context(), errors.New(hostile), "otherwise"},
		{"anything after a cancel", over, syscall.ECONNREFUSED, "cancelled"},
		{"anything after the deadline", late, net.ErrClosed, "timeout"},
	} {
		if i := slices.IndexFunc(causes, func(c cause) bool { return c.matches(test.err) }); i >= 0 {
			first[i] = true
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			expect(t, explain(test.ctx, test.err, "otherwise"), test.want)
		})
	}
	for i, reached := range first {
		if !reached {
			t.Errorf("line %d, %q, is without a test or behind a more general one", i, causes[i].words)
		}
	}
}

// ours is every text of an HTTP probe's error.
var ours = regexp.MustCompile(`^(no HTTP response|response head too large|connection (closed|reset)|status [1-9][0-9]{2}, expected 2xx)$`)

// FuzzHTTPAnswer feeds answers to a probe: it ends with a verdict in our own words.
func FuzzHTTPAnswer(f *testing.F) {
	for _, seed := range []string{
		okAnswer, "HTTP/1.1 500 " + hostile + "\r\n\r\n", "HTTP/1.1 " + hostile + "\r\n\r\n", hostile,
		"HTTP/1.1 100 Continue\r\n\r\n" + okAnswer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + hostile + "\r\n\r\n",
		"HTTP/1.1 404 Not Found\r\nA: " + strings.Repeat("b", 5000) + "\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		dial, _, stop := inMemory(func(c net.Conn) {
			readRequest(c)
			_, _ = c.Write(answer)
		})
		defer stop()
		p := Probe{Type: "http", Address: "a.test:80", Timeout: patience, Dial: dial}
		if err := p.Do(t.Context()); err != nil && !ours.MatchString(err.Error()) {
			t.Errorf("%q", err)
		}
	})
}
