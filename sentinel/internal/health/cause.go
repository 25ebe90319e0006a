package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"
)

// failure is why a probe failed, in our own words: it goes into logs and to the operator, so nothing that
// came from the target may be in it.
type failure string

func (f failure) Error() string { return string(f) }

const (
	timedOut     failure = "timeout"
	cancelled    failure = "cancelled"
	noDescriptor failure = "no descriptor left"
	noPort       failure = "no local address or port left"
)

// Ours reports whether a probe failed for what the prober itself lacks: that says nothing of the target.
func Ours(err error) bool {
	return errors.Is(err, noDescriptor) || errors.Is(err, noPort)
}

// cause is an error that has a name.
type cause struct {
	matches func(error) bool
	words   failure
}

// causes are the errors that have a name; the first that matches counts. So the particular stands before
// the general: a name server's timeout is a net.Error too.
var causes = []cause{
	{nameTimedOut, "timeout of the name server"},
	{as[*net.DNSError], "name does not resolve"},
	{as[*net.AddrError], "not an address"},
	{as[*net.ParseError], "not an address"},
	{is(syscall.ECONNREFUSED), "connection refused"},
	{is(syscall.ECONNRESET, syscall.EPIPE), "connection reset"},
	{is(syscall.EHOSTUNREACH, syscall.EHOSTDOWN), "host unreachable"},
	{is(syscall.ENETUNREACH, syscall.ENETDOWN), "network unreachable"},
	{is(syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM), noDescriptor},
	{is(syscall.EADDRNOTAVAIL), noPort},
	{is(syscall.EACCES, syscall.EPERM), "not permitted"},
	{as[x509.UnknownAuthorityError], "certificate: unknown authority"},
	{as[x509.HostnameError], "certificate: wrong name"},
	{expired, "certificate: expired or not yet valid"},
	{as[*tls.CertificateVerificationError], "certificate: not valid"},
	{as[tls.RecordHeaderError], "no TLS answer"},
	{alerted, "TLS refused by the target"},
	{isTimeout, timedOut},
	{is(context.Canceled), cancelled},
	{is(io.EOF, io.ErrUnexpectedEOF, net.ErrClosed), "connection closed"},
}

// explain puts err, what a step of a probe returned, into our words: otherwise when it has no name. Once ctx
// is done that is the cause, whatever the step made of its connection being closed.
func explain(ctx context.Context, err error, otherwise failure) failure {
	if done := ctx.Err(); done != nil {
		err = done
	}
	for _, c := range causes {
		if c.matches(err) {
			return c.words
		}
	}
	return otherwise
}

func is(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
}

func as[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func nameTimedOut(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsTimeout
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func expired(err error) bool {
	e, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && e.Reason == x509.Expired
}

// alerted recognizes an alert of the target, which crypto/tls reports as this operation.
func alerted(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "remote error"
}
