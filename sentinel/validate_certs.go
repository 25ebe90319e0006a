package sentinel

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// validateCerts looks at every certificate that the configuration names: those that listeners show, those that
// upstreams and agents are shown, and the authorities that either are checked with.
func (in *Inspection) validateCerts(r *Report) {
	for i := range in.cfg.Listeners {
		l := &in.cfg.Listeners[i]
		if l.TLS == nil {
			continue
		}
		who := fmt.Sprintf("listener %q", l.ID)
		r.checkPair(who, in.file(l.TLS.CertFile), in.file(l.TLS.KeyFile), nil)
		r.checkAuthorities(who, in.file(l.TLS.CAFile))
		for _, sni := range l.TLS.SNI {
			r.checkPair(who, in.file(sni.CertFile), in.file(sni.KeyFile), sni.Hostnames)
		}
	}
	for i := range in.cfg.Upstreams {
		if u := &in.cfg.Upstreams[i]; u.TLS != nil {
			r.checkPeerTLS(fmt.Sprintf("upstream %q", u.ID), in.file(u.TLS.ClientCert), in.file(u.TLS.ClientKey), in.file(u.TLS.CACert))
		}
	}
	for i := range in.cfg.Agents {
		if a := &in.cfg.Agents[i]; a.TLS != nil {
			r.checkPeerTLS(fmt.Sprintf("agent %q", a.ID), in.file(a.TLS.ClientCert), in.file(a.TLS.ClientKey), in.file(a.TLS.CACert))
		}
	}
}

func (r *Report) checkPeerTLS(who, cert, key, authorities string) {
	if cert != "" {
		r.checkPair(who, cert, key, nil)
	}
	r.checkAuthorities(who, authorities)
}

// checkPair looks at a certificate with its chain and its key. hosts are the names it is to be shown for.
func (r *Report) checkPair(who, certFile, keyFile string, hosts []string) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		r.fail("%s: certificate %s: %v", who, certFile, err)
		return
	}
	r.checkTime(who, "certificate "+certFile, pair.Leaf)
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err != nil {
			r.fail("%s: certificate %s: its chain: %v", who, certFile, err)
		} else {
			r.checkTime(who, fmt.Sprintf("certificate %s: %s in its chain", certFile, c.Subject), c)
		}
	}
	for _, host := range hosts {
		if pair.Leaf.VerifyHostname(strings.ReplaceAll(host, "*", "any")) != nil {
			r.warn("%s: certificate %s does not have the name %s", who, certFile, host)
		}
	}
}

func (r *Report) checkTime(who, what string, c *x509.Certificate) {
	switch left := time.Until(c.NotAfter); {
	case left < 0:
		r.fail("%s: %s expired on %s", who, what, c.NotAfter.Format(time.DateOnly))
	case time.Until(c.NotBefore) > 0:
		r.fail("%s: %s is not valid before %s", who, what, c.NotBefore.Format(time.DateTime))
	case left < expiresSoon:
		r.warn("%s: %s expires on %s", who, what, c.NotAfter.Format(time.DateOnly))
	}
}

var errNoPEM = errors.New("it holds no certificate")

// checkAuthorities looks at a bundle. That one of many has expired is worth a word and no more.
func (r *Report) checkAuthorities(who, file string) {
	if file == "" {
		return
	}
	text, err := os.ReadFile(file)
	good, bad := 0, &Report{}
	for block, rest := pem.Decode(text); err == nil && block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue // crypto/x509 leaves out what it cannot read, too
		}
		before := len(bad.Errors)
		bad.checkTime(who, fmt.Sprintf("authority %s in %s", c.Subject, file), c)
		if len(bad.Errors) == before {
			good++
		}
	}
	switch {
	case err == nil && good == 0 && len(bad.Errors) == 0:
		err = errNoPEM
	case err == nil && good > 0:
		r.Warnings = append(append(r.Warnings, bad.Warnings...), bad.Errors...)
		return
	}
	if err != nil {
		r.fail("%s: authorities %s: %v", who, file, err)
	}
	r.Errors = append(r.Errors, bad.Errors...)
}
