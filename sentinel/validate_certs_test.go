package sentinel_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// certificate writes NAME.pem and NAME.key, valid in a period around now, for localhost.
func certificate(t *testing.T, dir, name string, from, to time.Duration) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost", "*.a.example"},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestValidateCerts shows what is said about certificates of listeners, upstreams and agents. Their names are relative
// to the working directory.
func TestValidateCerts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const day = 24 * time.Hour
	certificate(t, dir, "good", -day, 365*day)
	certificate(t, dir, "soon", -day, 10*day)
	certificate(t, dir, "old", -2*day, -day)
	certificate(t, dir, "early", day, 2*day)
	good, err := os.ReadFile(filepath.Join(dir, "good.pem"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(filepath.Join(dir, "old.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{"both.pem": slices.Concat(good, old), "chain.pem": slices.Concat(good, old), "none.pem": []byte("x")} {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	date := func(d time.Duration) string { return time.Now().UTC().Add(d).Format(time.DateOnly) }
	listener := func(tls string) string {
		return `listener "tls" { address "127.0.0.1:0"; protocol "https"; tls { ` + tls + ` } }`
	}
	pair := func(name string) string { return fmt.Sprintf(`cert-file "%s.pem"; key-file "%s.key"`, name, name) }
	for _, test := range []struct {
		name, text       string
		errors, warnings []string
	}{
		{name: "good", text: listener(pair("good") + `; ca-file "good.pem"`)},
		{name: "missing", text: listener(pair("missing")), errors: []string{`listener "tls": certificate ` + file("missing.pem") + ": open " + file("missing.pem") + ": no such file or directory"}},
		{name: "expired", text: listener(pair("old")), errors: []string{`listener "tls": certificate ` + file("old.pem") + " expired on " + date(-day)}},
		{name: "early", text: listener(pair("early")), errors: []string{`listener "tls": certificate ` + file("early.pem") + " is not valid before " + time.Now().UTC().Add(day).Format(time.DateOnly)}},
		{name: "soon", text: listener(pair("soon")), warnings: []string{`listener "tls": certificate ` + file("soon.pem") + " expires on " + date(10*day)}},
		{name: "sni", text: listener(pair("good") + `; sni { hostnames "x.a.example" "*.a.example" "b.example"; ` + pair("good") + " }"), warnings: []string{`listener "tls": certificate ` + file("good.pem") + " does not have the name b.example"}},
		{name: "expired sni", text: listener(pair("good") + `; sni { ` + pair("old") + " }"), errors: []string{`listener "tls": certificate ` + file("old.pem") + " expired on "}},
		{name: "chain", text: listener(`cert-file "chain.pem"; key-file "good.key"`), errors: []string{`listener "tls": certificate ` + file("chain.pem") + ": CN=old in its chain expired on "}},
		{name: "expired authority", text: listener(pair("good") + `; ca-file "old.pem"`), errors: []string{`listener "tls": authority CN=old in ` + file("old.pem") + " expired on "}},
		{name: "one of two authorities", text: listener(pair("good") + `; ca-file "both.pem"`), warnings: []string{`listener "tls": authority CN=old in ` + file("both.pem") + " expired on "}},
		{name: "no authority", text: listener(pair("good") + `; ca-file "none.pem"`), errors: []string{`listener "tls": authorities ` + file("none.pem") + ": it holds no certificate"}},
		{name: "upstream", text: `upstream "u" { target "127.0.0.1:1"; tls { client-cert "old.pem"; client-key "old.key"; ca-cert "missing.pem" } }`, errors: []string{`upstream "u": certificate ` + file("old.pem") + " expired on ", `upstream "u": authorities ` + file("missing.pem") + ": open "}},
		{name: "agent", text: `agent "a" { grpc "https://127.0.0.1:1" { ca-cert "old.pem" } }`, errors: []string{`agent "a": authority CN=old in ` + file("old.pem") + " expired on "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text := fmt.Sprintf("system { working-directory %q }\n%s\n%s\n", dir, scaffold, test.text)
			in, err := sentinel.Inspect(sentinel.Options{Text: []byte(text), Name: "v.kdl"})
			if err != nil {
				t.Fatal(err)
			}
			r := in.Validate(t.Context(), sentinel.ValidateOptions{SkipNetwork: true, SkipAgents: true})
			sameBeginnings(t, "errors", r.Errors, test.errors)
			sameBeginnings(t, "warnings", r.Warnings, test.warnings)
			if r := in.Validate(t.Context(), sentinel.ValidateOptions{SkipNetwork: true, SkipAgents: true, SkipCerts: true}); len(r.Errors)+len(r.Warnings) > 0 {
				t.Errorf("with certificates left out: %+v", r)
			}
		})
	}
}

// sameBeginnings compares texts with how each is to begin.
func sameBeginnings(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(g, w string) bool { return len(g) >= len(w) && g[:len(w)] == w }) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestValidateTargets shows that every target is tried, and reported in the order of the configuration.
func TestValidateTargets(t *testing.T) {
	t.Parallel()
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	shut, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = shut.Close()
	text := `listener "l" { address "127.0.0.1:0" }` + "\n"
	var want []string
	for i := range 50 {
		at := open.Addr().String()
		if i%2 == 0 {
			at = shut.Addr().String()
			want = append(want, fmt.Sprintf("upstream \"u%d\": target %s refused the connection", i, at))
		}
		text += fmt.Sprintf("upstream \"u%d\" { target %q }\n", i, at)
	}
	in, err := sentinel.Inspect(sentinel.Options{Text: []byte(text), Name: "v.kdl"})
	if err != nil {
		t.Fatal(err)
	}
	r := in.Validate(t.Context(), sentinel.ValidateOptions{})
	if !slices.Equal(r.Errors, want) || len(r.Warnings) > 0 {
		t.Errorf("%+v\nwant %q", r, want)
	}
}
