package config

import (
	"crypto/tls"
	"net/netip"
	"testing"
	"time"
)

func TestSystemShapes(t *testing.T) {
	def := System{MaxConnections: 10_000, ShutdownTimeout: 30 * time.Second, ReloadDrain: time.Minute, UpgradeTimeout: 30 * time.Second, TraceIDFormat: "tinyflake", RouteCacheSize: 1000}
	with := func(change func(*System)) System {
		s := def
		change(&s)
		return s
	}
	checkShapes(t, func(c *Config) System { return c.System }, []shape[System]{
		{name: "defaults", text: withSystem(""), want: def},
		{name: "absent", text: listenerPart + routePart + upstreamPart, want: def, warnings: []string{"no system block"}},
		{name: "server", text: "server { worker-threads 4 }\n" + listenerPart + routePart + upstreamPart, want: with(func(s *System) { s.WorkerThreads = 4 })},
		{
			name: "twice", text: withSystem("worker-threads 4") + "server { worker-threads 2 }\n", want: with(func(s *System) { s.WorkerThreads = 2 }),
			warnings: []string{"it replaces the one at test.kdl:1:1"},
		},
		{name: "all", text: withSystem(`worker-threads 2; max-connections 5; graceful-shutdown-timeout-secs 0; reload-drain-secs 7; admin-socket "/a"; trace-id-format "uuid4"
			auto-reload true; daemon #true; pid-file "/p"; user "u"; group "g"; working-directory "/w"; route-cache-size 7
			shutdown-delay-secs 3; upgrade-timeout-secs 9`), want: System{
			WorkerThreads: 2, MaxConnections: 5, ReloadDrain: 7 * time.Second, AdminSocket: "/a", TraceIDFormat: "uuid", AutoReload: true, Daemon: true, PIDFile: "/p", User: "u", Group: "g",
			WorkingDir: "/w", RouteCacheSize: 7, ShutdownDelay: 3 * time.Second, UpgradeTimeout: 9 * time.Second,
		}},
		{name: "numbers", text: withSystem("max-connections 1_000; route-cache-size 0x10"), want: with(func(s *System) { s.MaxConnections, s.RouteCacheSize = 1000, 16 })},
		{name: "null", text: withSystem("pid-file #null; user null"), want: def},
		{name: "unknown", text: withSystem("workers 4"), want: def, warnings: []string{`unknown setting "workers" (ignored); did you mean "worker-threads"`}},
		{name: "snake case", text: withSystem("worker_threads 4"), want: def, warnings: []string{`did you mean "worker-threads"`}},
		{name: "annotations", text: withSystem("(u8)worker-threads (u8)4"), want: with(func(s *System) { s.WorkerThreads = 4 })},
		{name: "slash dash", text: withSystem("/-worker-threads 4"), want: def},
	})
}

func TestListenerShapes(t *testing.T) {
	def := Listener{
		ID: "main", Address: netip.MustParseAddrPort("127.0.0.1:8080"), Protocol: "http", RequestTimeout: time.Minute,
		KeepAliveTimeout: 75 * time.Second, MaxConcurrentStreams: 100, BodyIdleTimeout: 30 * time.Second, MinBodyRate: 240,
	}
	with := func(change func(*Listener)) Listener {
		l := def
		change(&l)
		return l
	}
	pick := func(c *Config) Listener {
		l := c.Listeners[0]
		l.Pos = Pos{}
		return l
	}
	rest := routePart + upstreamPart
	checkShapes(t, pick, []shape[Listener]{
		{name: "defaults", text: withListener(`address "127.0.0.1:8080"`), want: def},
		{name: "property", text: systemPart + "listeners { listener \"main\" address=\"127.0.0.1:8080\" }\n" + rest, want: def},
		{name: "top level", text: systemPart + "listener \"main\" { address \"127.0.0.1:8080\" }\n" + rest, want: def},
		{name: "bare id", text: systemPart + "listener main { address \"127.0.0.1:8080\" }\n" + rest, want: def},
		{name: "IPv6", text: withListener(`address "[::1]:0"`), want: with(func(l *Listener) { l.Address = netip.MustParseAddrPort("[::1]:0") })},
		{name: "all", text: withListener(`address "127.0.0.1:8080"; request-timeout-secs 1; keepalive-timeout-secs 2; keepalive-max-requests 3
			max-concurrent-streams 4; body-idle-timeout-secs 5; min-body-rate-bytes 0; default-route "api"`), want: with(func(l *Listener) {
			l.RequestTimeout, l.KeepAliveTimeout, l.KeepAliveMaxRequests = time.Second, 2*time.Second, 3
			l.MaxConcurrentStreams, l.BodyIdleTimeout, l.MinBodyRate, l.DefaultRoute = 4, 5*time.Second, 0, "api"
		})},
		{name: "upper case", text: withListener(`address "127.0.0.1:8080"; protocol "HTTP"`), want: def},
		{
			name: "namespace", text: withListener(`address "127.0.0.1:8080"; namespace "n"`), want: def,
			warnings: []string{"namespace: not supported in this build, ignored"},
		},
	})
}

func TestTLSShapes(t *testing.T) {
	def := TLS{CertFile: "c", KeyFile: "k", MinVersion: tls.VersionTLS12, OCSPStapling: true, SessionResumption: true}
	with := func(change func(*TLS)) TLS {
		x := def
		change(&x)
		return x
	}
	listener := func(body string) string {
		return withListener("address \"127.0.0.1:8443\"\nprotocol \"https\"\ntls {\ncert-file \"c\"\nkey-file \"k\"\n" + body + "\n}")
	}
	pick := func(c *Config) TLS {
		x := *c.Listeners[0].TLS
		x.Pos = Pos{}
		for i := range x.SNI {
			x.SNI[i].Pos = Pos{}
		}
		return x
	}
	suites := with(func(x *TLS) {
		x.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	})
	const rsa, ecdsa = `"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"`, `"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"`
	sni := with(func(x *TLS) {
		x.SNI = []SNICert{{Hostnames: []string{"a.example", "*.*.b.example"}, CertFile: "ac", KeyFile: "ak"}}
	})
	checkShapes(t, pick, []shape[TLS]{
		{name: "defaults", text: listener(""), want: def},
		{name: "versions", text: listener(`min-version "TLSv1.3"; max-version "tls1.3"`), want: with(func(x *TLS) { x.MinVersion, x.MaxVersion = tls.VersionTLS13, tls.VersionTLS13 })},
		{name: "client auth", text: listener(`client-auth #true; ca-file "ca"; ocsp-stapling #false; session-resumption false`), want: TLS{
			CertFile: "c", KeyFile: "k", MinVersion: tls.VersionTLS12, ClientAuth: true, CAFile: "ca",
		}},
		{name: "suites", text: listener("cipher-suites " + rsa + " " + ecdsa), want: suites},
		{name: "suites as items", text: listener("cipher-suites { - " + rsa + "; - " + ecdsa + " }"), want: suites},
		{name: "suites one by one", text: listener("cipher-suite " + rsa + "\ncipher-suite " + ecdsa), want: suites},
		{name: "suites of TLS 1.3", text: listener(`cipher-suites "TLS_AES_128_GCM_SHA256"`), want: def},
		{name: "sni", text: listener(`sni { hostnames "A.example" "*.*.b.example"; cert-file "ac"; key-file "ak" }`), want: sni},
		{name: "additional certs", text: listener(`additional-certs { sni-cert { hostnames "a.example" "*.*.b.example"; cert-file "ac"; key-file "ak" } }`), want: sni},
		{name: "sni without names", text: listener(`sni { cert-file "ac"; key-file "ak" }`), want: with(func(x *TLS) { x.SNI = []SNICert{{CertFile: "ac", KeyFile: "ak"}} })},
		{name: "acme", text: listener(`acme { email "e" }`), want: def, warnings: []string{"acme: not supported in this build, ignored"}},
	})
}
