package sentinel

import (
	"slices"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

func TestMayEdit(t *testing.T) {
	for _, c := range []struct {
		name  string
		op    agent.HeaderOp
		which message
		want  bool
	}{
		{"an ordinary field", agent.HeaderOp{Kind: agent.SetHeader, Name: "X-User", Value: "ann"}, ofRequest, true},
		{"an empty value", agent.HeaderOp{Kind: agent.SetHeader, Name: "X-User"}, ofRequest, true},
		{"bytes beyond ASCII", agent.HeaderOp{Kind: agent.SetHeader, Name: "X-User", Value: "\xc3\xa4"}, ofRequest, true},
		{"no name", agent.HeaderOp{Kind: agent.SetHeader, Value: "x"}, ofRequest, false},
		{"a pseudo-header", agent.HeaderOp{Kind: agent.SetHeader, Name: ":path", Value: "/admin"}, ofRequest, false},
		{"a space in the name", agent.HeaderOp{Kind: agent.SetHeader, Name: "X User", Value: "x"}, ofRequest, false},
		{"a line end in the name", agent.HeaderOp{Kind: agent.SetHeader, Name: "X\r\nY", Value: "x"}, ofRequest, false},
		{"a line end in the value", agent.HeaderOp{Kind: agent.SetHeader, Name: "X", Value: "a\r\nSet-Cookie: b"}, ofResponse, false},
		{"a line feed in the value", agent.HeaderOp{Kind: agent.AddHeader, Name: "X", Value: "a\nb"}, ofResponse, false},
		{"NUL in the value", agent.HeaderOp{Kind: agent.AddHeader, Name: "X", Value: "a\x00b"}, ofRequest, false},
		{"the length", agent.HeaderOp{Kind: agent.SetHeader, Name: "Content-Length", Value: "5"}, ofRequest, false},
		{"the length, removed", agent.HeaderOp{Kind: agent.RemoveHeader, Name: "content-length"}, ofResponse, false},
		{"the coding", agent.HeaderOp{Kind: agent.AddHeader, Name: "Transfer-Encoding", Value: "chunked"}, ofRequest, false},
		{"Connection", agent.HeaderOp{Kind: agent.SetHeader, Name: "connection", Value: "close"}, ofResponse, false},
		{"Keep-Alive", agent.HeaderOp{Kind: agent.SetHeader, Name: "Keep-Alive", Value: "1"}, ofResponse, false},
		{"TE", agent.HeaderOp{Kind: agent.SetHeader, Name: "TE", Value: "trailers"}, ofRequest, false},
		{"Trailer", agent.HeaderOp{Kind: agent.SetHeader, Name: "Trailer", Value: "x"}, ofRequest, false},
		{"Upgrade", agent.HeaderOp{Kind: agent.SetHeader, Name: "Upgrade", Value: "h2c"}, ofRequest, false},
		{"Proxy-Connection", agent.HeaderOp{Kind: agent.SetHeader, Name: "Proxy-Connection", Value: "x"}, ofRequest, false},
		{"the correlation id", agent.HeaderOp{Kind: agent.RemoveHeader, Name: "X-Correlation-Id"}, ofRequest, false},
		{"Host, set", agent.HeaderOp{Kind: agent.SetHeader, Name: "Host", Value: "b.example:81"}, ofRequest, true},
		{"Host, set to none", agent.HeaderOp{Kind: agent.SetHeader, Name: "Host", Value: "b/../c"}, ofRequest, false},
		{"Host, added", agent.HeaderOp{Kind: agent.AddHeader, Name: "Host", Value: "b.example"}, ofRequest, false},
		{"Host, removed", agent.HeaderOp{Kind: agent.RemoveHeader, Name: "Host"}, ofRequest, false},
		{"a removal needs no value", agent.HeaderOp{Kind: agent.RemoveHeader, Name: "Cookie", Value: "\r\n"}, ofRequest, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mayEdit(c.which, &c.op); got != c.want {
				t.Errorf("%+v: %t, want %t", c.op, got, c.want)
			}
		})
	}
}

// TestEditedByAgents checks that the last word counts, and which fields a set replaces.
func TestEditedByAgents(t *testing.T) {
	fields := []wire.Field{named("Host", "a.example"), named("X-A", "1"), named("x-a", "2"), named("X-B", "3")}
	ops := []agent.HeaderOp{
		{Kind: agent.RemoveHeader, Name: "x-b"},
		{Kind: agent.SetHeader, Name: "X-A", Value: "4"},
		{Kind: agent.AddHeader, Name: "X-A", Value: "5"},
		{Kind: agent.AddHeader, Name: "X-C", Value: "6"},
	}
	var got []string
	c := &counsel{ops: [2][]agent.HeaderOp{ofRequest: ops}}
	for _, f := range c.editedByAgents(fields, ofRequest) {
		got = append(got, string(f.Name)+"="+string(f.Value))
	}
	if want := []string{"Host=a.example", "X-A=4", "X-A=5", "X-C=6"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
