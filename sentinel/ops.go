package sentinel

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// message is one of the two messages of an exchange.
type message uint8

const (
	ofRequest message = iota
	ofResponse
)

// What agents may do to the heads of one exchange.
const (
	maxOps   = 256 // changes of each
	maxNotes = 16  // refused changes that the error log is told of
)

// notForAgents are fields that no agent may change: they are about the connection or the message's length,
// which are the proxy's alone.
var notForAgents = setOf(
	wire.Connection, wire.KeepAlive, wire.ProxyConnection, wire.TE, wire.Trailer, wire.TransferEncoding,
	wire.Upgrade, wire.HTTP2Settings, wire.ContentLength,
)

// accept takes over the changes of a verdict that come in time: removals first, then sets, then additions.
func (c *counsel) accept(s *seat, kind agents.EventKind) {
	if kind == agents.RequestHeaders || kind == agents.RequestBody && !c.body.given {
		c.add(ofRequest, s, s.verdict.RequestOps)
	}
	if !c.begun {
		c.add(ofResponse, s, s.verdict.ResponseOps)
	}
	if !s.audited[kind] {
		c.x.auditAllowed(s, kind)
	}
}

// add takes over the changes of one verdict, in the order in which they are made.
func (c *counsel) add(which message, s *seat, more []agent.HeaderOp) {
	more = slices.SortedStableFunc(slices.Values(more), func(a, b agent.HeaderOp) int { return int(a.Kind) - int(b.Kind) })
	for i := range more {
		if c.addOne(which, &more[i]) {
			continue
		}
		if c.refused++; c.refused <= maxNotes {
			c.x.noteRefused(s, &more[i])
		}
	}
}

// addOne takes over one change. What was to become of a field before one that sets or removes it does not matter any
// more, so that an agent may say the same about every piece of a body.
func (c *counsel) addOne(which message, op *agent.HeaderOp) bool {
	if !mayEdit(which, op) {
		return false
	}
	list := c.ops[which]
	if op.Kind != agent.AddHeader {
		list = slices.DeleteFunc(list, func(old agent.HeaderOp) bool { return strings.EqualFold(old.Name, op.Name) })
	}
	if len(list) >= maxOps {
		return false
	}
	c.ops[which] = append(list, *op)
	return true
}

// mayEdit reports whether a change is one that an agent may make. A name that is no name, a value that
// would break the head, framing and the correlation id are refused.
func mayEdit(which message, op *agent.HeaderOp) bool {
	name := []byte(op.Name)
	id := wire.Identify(name)
	switch {
	case !wire.ValidName(name) || notForAgents[id] || id == wire.XCorrelationID:
		return false
	case op.Kind == agent.RemoveHeader:
		return which == ofResponse || id != wire.Host
	case which == ofRequest && id == wire.Host:
		return op.Kind == agent.SetHeader && wire.ValidAuthority([]byte(op.Value))
	}
	return wire.ValidValue([]byte(op.Value))
}

// editedByAgents applies the agents' changes to the fields of a head.
func (c *counsel) editedByAgents(f []wire.Field, which message) []wire.Field {
	for i := range c.ops[which] {
		op := &c.ops[which][i]
		changed := named(op.Name, op.Value)
		switch op.Kind {
		case agent.RemoveHeader:
			f = without(f, changed.Name)
		case agent.SetHeader:
			f = withOne(f, changed)
		case agent.AddHeader:
			f = append(f, changed)
		}
	}
	return f
}

// withOne puts a field in the place of the first of its name, and drops the others.
func withOne(f []wire.Field, field wire.Field) []wire.Field {
	i := slices.IndexFunc(f, func(old wire.Field) bool { return bytes.EqualFold(old.Name, field.Name) })
	if i < 0 {
		return append(f, field)
	}
	f[i] = field
	return append(f[:i+1], without(f[i+1:], field.Name)...)
}
