package config

import (
	"net/url"
	"strconv"
	"strings"
)

// maxSocketPath is what fits a sockaddr_un, with its final NUL.
const maxSocketPath = 107

var transportNames = oneOf("unix-socket", "grpc", "http")

// transport reads an agent's one transport: `grpc "addr"`, `grpc address="addr"`,
// `grpc { address "addr" }`, or `transport "grpc" { address "addr" }`.
func (b *block) transport(a *Agent) {
	nodes := b.transportNodes()
	if len(nodes) == 0 && !b.written("transport") {
		b.fail("", "the agent has no transport", "expected one of unix-socket, grpc, http")
	}
	for i, n := range nodes {
		if i > 0 {
			b.r.report(Problem{Pos: n.pos, Path: b.path, Found: "a second transport: " + n.name, Expected: "expected exactly one of unix-socket, grpc, http"})
			continue
		}
		c := b.r.open(n, b.pathOf(n.name), min(len(n.args), 1))
		switch n.name {
		case "unix-socket":
			c.unixSocket(a)
		case "grpc":
			c.grpc(a)
		case "http":
			c.httpTransport(a)
		}
		c.done()
	}
}

// transportNodes returns every transport the agent has, each as a node of its own name.
func (b *block) transportNodes() (list []*node) {
	for _, n := range b.all("transport") {
		v := value{pos: n.pos, data: noValue}
		if len(n.args) > 0 {
			v = n.args[0]
		}
		if name, ok := b.word("transport", v, transportNames); ok {
			list = append(list, &node{name: name, pos: n.pos, args: n.args[1:], props: n.props, children: n.children})
		}
	}
	for _, name := range transportNames.canonical() {
		list = append(list, b.all(name)...)
		for _, v := range b.propValues(name, nil) {
			list = append(list, &node{name: name, pos: v.pos, args: []value{v}})
		}
	}
	return list
}

// addressOf returns the address of a transport: its argument, or the setting it may be written as.
func (b *block) addressOf(name string) (value, bool) {
	v, ok := b.argOrProp(0, name)
	if !ok {
		b.fail("", "found no "+name, "expected "+b.node.name+` "…"`)
		return v, false
	}
	s, ok := b.textOf(name, v)
	if ok {
		b.note(name, kdlText(s), v.source())
	}
	return v, ok
}

func (b *block) unixSocket(a *Agent) {
	v, ok := b.addressOf("path")
	if !ok {
		return
	}
	a.Transport, a.Address = "unix", v.data.(string)
	if len(a.Address) > maxSocketPath {
		b.wrong("path", v, "expected a path of at most "+strconv.Itoa(maxSocketPath)+" bytes, which is what a socket address holds")
	}
	b.place("path", v.pos)
	b.needs("path", a.Address, socket(a.Address))
}

// grpc reads `host:port`, `http://host:port` or, for TLS, `https://host:port`.
func (b *block) grpc(a *Agent) {
	v, ok := b.addressOf("address")
	if !ok {
		return
	}
	s := v.data.(string)
	secure := strings.HasPrefix(s, "https://")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	v.data = strings.TrimSuffix(s, "/")
	a.Transport = "grpc"
	a.Address, _ = b.hostPort("address", v)
	a.TLS = b.agentTLS(secure)
}

func (b *block) httpTransport(a *Agent) {
	v, ok := b.addressOf("url")
	if !ok {
		return
	}
	u, err := url.Parse(v.data.(string))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		b.wrong("url", v, `expected a URL such as "http://127.0.0.1:9000/check"`)
		return
	}
	b.warn("", "the http transport is not supported in this build", "every call fails, and the failure mode decides")
	a.Transport, a.Address = "http", u.String()
	a.TLS = b.agentTLS(u.Scheme == "https")
}

// agentTLS reads the TLS settings of a transport; without TLS there must be none, since whoever writes
// a ca-cert expects it to be used.
func (b *block) agentTLS(secure bool) *AgentTLS {
	t := &AgentTLS{
		CACert: b.text("ca-cert", ""), ClientCert: b.text("client-cert", ""), ClientKey: b.text("client-key", ""),
		Insecure: b.flag("tls-insecure", "insecure-skip-verify"),
	}
	b.bothOrNone("client-cert", "client-key")
	b.needs("client-cert", t.ClientCert, keyPair(t.ClientCert, t.ClientKey), t.ClientCert, t.ClientKey)
	b.needs("ca-cert", t.CACert, authorities(t.CACert), t.CACert)
	if secure {
		return t
	}
	for _, name := range []string{"ca-cert", "client-cert", "client-key", "tls-insecure"} {
		if b.written(name) {
			b.fail(name, name+" on a connection without TLS", "expected an address that starts with https://")
		}
	}
	return nil
}
