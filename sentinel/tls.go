package sentinel

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

var errNoCertificates = errors.New("the file holds no certificate")

// certificates chooses a certificate by the server name a client asks for.
type certificates struct {
	fallback *tls.Certificate
	exact    map[string]*tls.Certificate
	wildcard []map[string]*tls.Certificate // by the number of leading "*" labels, less one
}

// choose returns the certificate for a handshake: the exact name's, else that of the wildcard with the
// most labels left, else the listener's own, which also serves clients that name none.
func (s *certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if c := s.exact[name]; c != nil {
		return c, nil
	}
	for _, byRest := range s.wildcard {
		_, rest, found := strings.Cut(name, ".")
		if !found {
			break
		}
		if c := byRest[rest]; c != nil {
			return c, nil
		}
		name = rest
	}
	return s.fallback, nil
}

// add serves c for a host name; "*.x" covers one label, "*.*.x" two.
func (s *certificates) add(host string, c *tls.Certificate) {
	host = strings.ToLower(host)
	stars := 0
	for strings.HasPrefix(host, "*.") {
		host = host[2:]
		stars++
	}
	if stars == 0 {
		s.exact[host] = c
		return
	}
	for len(s.wildcard) < stars {
		s.wildcard = append(s.wildcard, map[string]*tls.Certificate{})
	}
	s.wildcard[stars-1][host] = c
}

// serverTLS builds a listener's TLS settings from its certificate files.
func serverTLS(c *config.TLS) (*tls.Config, error) {
	own, err := loadPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	store := &certificates{fallback: own, exact: map[string]*tls.Certificate{}}
	for _, sni := range c.SNI {
		pair, err := loadPair(sni.CertFile, sni.KeyFile)
		if err != nil {
			return nil, err
		}
		hosts := sni.Hostnames
		if len(hosts) == 0 {
			hosts = pair.Leaf.DNSNames
		}
		for _, host := range hosts {
			store.add(host, pair)
		}
	}
	t := &tls.Config{
		GetCertificate: store.choose, MinVersion: max(c.MinVersion, tls.VersionTLS12), MaxVersion: c.MaxVersion,
		CipherSuites: c.CipherSuites, SessionTicketsDisabled: !c.SessionResumption, NextProtos: []string{"http/1.1"},
	}
	if c.ClientAuth {
		pool, err := loadPool(c.CAFile)
		if err != nil {
			return nil, err
		}
		t.ClientAuth, t.ClientCAs = tls.RequireAndVerifyClientCert, pool
	}
	return t, nil
}

func loadPair(certFile, keyFile string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("loading certificate %s: %w", certFile, err)
	}
	return &pair, nil
}

func loadPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %w", file, errNoCertificates)
	}
	return pool, nil
}
