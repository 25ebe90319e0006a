package config

import (
	"crypto/tls"
	"strings"
)

// listenerTLS reads a listener's `tls`.
func (r *reader) listenerTLS(b *block) *TLS {
	t := &TLS{
		Pos:      b.node.pos,
		CertFile: b.required("cert-file"), KeyFile: b.required("key-file"),
		CAFile:            b.text("ca-file", ""),
		ClientAuth:        b.boolean("client-auth", false),
		MinVersion:        b.tlsVersion("min-version", tls.VersionTLS12),
		MaxVersion:        b.tlsVersion("max-version", 0),
		CipherSuites:      b.cipherSuites(),
		OCSPStapling:      b.boolean("ocsp-stapling", true),
		SessionResumption: b.boolean("session-resumption", true),
	}
	if t.ClientAuth && t.CAFile == "" {
		b.fail("client-auth", "client-auth without ca-file", "expected ca-file: the authorities that sign client certificates")
	}
	if t.MaxVersion != 0 && t.MaxVersion < t.MinVersion {
		b.fail("max-version", "max-version is lower than min-version", "")
	}
	b.needs("cert-file", t.CertFile, keyPair(t.CertFile, t.KeyFile), t.CertFile, t.KeyFile)
	b.needs("ca-file", t.CAFile, authorities(t.CAFile), t.CAFile)
	for _, n := range b.all("sni") {
		t.SNI = append(t.SNI, r.sni(r.open(n, b.pathOf("sni"), 0)))
	}
	for _, more := range b.all("additional-certs") {
		list := r.open(more, b.pathOf("additional-certs"), 0)
		for _, n := range list.all("sni-cert") {
			t.SNI = append(t.SNI, r.sni(r.open(n, list.pathOf("sni-cert"), 0)))
		}
		list.done()
	}
	b.unsupported("acme")
	b.done()
	return t
}

func (r *reader) sni(b *block) SNICert {
	s := SNICert{Pos: b.node.pos, CertFile: b.required("cert-file"), KeyFile: b.required("key-file")}
	for _, v := range b.values("hostnames") {
		if name, ok := b.hostOf("hostnames", v, 2); ok {
			s.Hostnames = append(s.Hostnames, name)
		}
	}
	b.noteList("hostnames", s.Hostnames)
	b.needs("cert-file", s.CertFile, keyPair(s.CertFile, s.KeyFile), s.CertFile, s.KeyFile)
	b.unsupported("priority-hostnames")
	b.done()
	return s
}

var tlsVersions = oneOf("1.2 TLS1.2 TLSv1.2", "1.3 TLS1.3 TLSv1.3").
	refusing("1.0", "TLS1.0", "TLSv1.0", "1.1", "TLS1.1", "TLSv1.1") // RFC 8996

// tlsVersion reads "1.2" or "1.3" in any of their spellings.
func (b *block) tlsVersion(name string, def uint16) uint16 {
	word := map[uint16]string{tls.VersionTLS12: "1.2"}[def]
	switch b.choice(name, word, tlsVersions) {
	case "1.2":
		return tls.VersionTLS12
	case "1.3":
		return tls.VersionTLS13
	}
	return def
}

// cipherSuites reads suites by their IANA names. Those of TLS 1.3 are not for a server to choose: they
// are accepted without effect. An empty result leaves Go's choice.
func (b *block) cipherSuites() (ids []uint16) {
	known := map[string]*tls.CipherSuite{}
	var names []string
	for _, s := range tls.CipherSuites() {
		known[s.Name] = s
		names = append(names, s.Name)
	}
	var chosen []string
	for _, v := range b.values("cipher-suites", "cipher-suite") {
		name, ok := b.textOf("cipher-suites", v)
		if !ok {
			continue
		}
		s := known[strings.ToUpper(name)]
		if s == nil {
			p := b.wrongAt("cipher-suites", v, "expected the IANA name of a suite that is not known to be weak")
			p.DidYouMean = b.r.nearest(name, names)
			b.r.report(p)
			continue
		}
		chosen = append(chosen, s.Name)
		if s.SupportedVersions[0] != tls.VersionTLS13 {
			ids = append(ids, s.ID)
		}
	}
	b.noteList("cipher-suites", chosen)
	return ids
}
