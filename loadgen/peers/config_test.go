package peers

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

var testSetup = setup{
	Listen:      netip.MustParseAddrPort("127.0.0.1:1111"),
	Backend:     netip.MustParseAddrPort("127.0.0.1:2222"),
	Metrics:     netip.MustParseAddrPort("127.0.0.1:3333"),
	Dir:         "/directory",
	Connections: 4000,
}

func TestConfigsNameTheirAddresses(t *testing.T) {
	for _, s := range subjects(Programs{}) {
		t.Run(s.name, func(t *testing.T) {
			text, err := render(s.template, testSetup)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"127.0.0.1:1111", "127.0.0.1:2222", "256"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s has no %s:\n%s", s.template, want, text)
				}
			}
			if strings.Contains(text, "3333") {
				t.Errorf("%s serves metrics without being asked to:\n%s", s.template, text)
			}
		})
	}
}

func TestConfigsLogWhenAsked(t *testing.T) {
	logged := testSetup
	logged.AccessLog = "/directory/access.log"
	for _, s := range subjects(Programs{}) {
		t.Run(s.name, func(t *testing.T) {
			plain, err := render(s.template, testSetup)
			if err != nil {
				t.Fatal(err)
			}
			text, err := render(s.template, logged)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(plain, "json") || !strings.Contains(text, "json") {
				t.Errorf("%s: JSON log asked for in\n%s\nnot asked for in\n%s", s.template, text, plain)
			}
		})
	}
}

// Every peer whose headers are ours to configure adds all of them. Sentinel adds them by itself, Caddy some.
func TestConfigsAddTheSameHeaders(t *testing.T) {
	for _, template := range []string{"nginx.conf", "haproxy.cfg"} {
		text, err := render(template, testSetup)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(toOrigin, toClient...) {
			if !strings.Contains(text, "eader "+name+" ") {
				t.Errorf("%s does not set %s", template, name)
			}
		}
	}
}

func TestRenderUnknownTemplate(t *testing.T) {
	if text, err := render("traefik.toml", testSetup); err == nil {
		t.Errorf("render = %q, want an error", text)
	}
}

func TestPrintConfigs(t *testing.T) {
	var out bytes.Buffer
	if err := PrintConfigs(&out, Options{Subjects: []string{nginx, sentinelOne}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# origin, backend.conf", "# nginx, nginx.conf", "# sentinel1, sentinel.kdl", "GOMAXPROCS=1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the configurations lack %q", want)
		}
	}
	if strings.Contains(out.String(), "haproxy") {
		t.Error("a subject was printed that was not asked for")
	}
	if err := PrintConfigs(&out, Options{Subjects: []string{"traefik"}}); err == nil {
		t.Error("an unknown subject was accepted")
	}
}
