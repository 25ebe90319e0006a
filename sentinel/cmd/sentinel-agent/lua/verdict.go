package lua

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
	"golang.org/x/net/http/httpguts"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// Bounds of what one call may ask for.
const (
	maxOps    = 64
	maxTags   = 16
	maxTag    = 128      // bytes
	maxLogs   = 8        // lines
	maxLine   = 512      // bytes
	maxAnswer = 64 << 10 // bytes of a body, a URL or a header's value
	maxParams = 32
)

// helpers gives the script the functions that make up its verdict.
func (c *call) helpers(l *lua.LState) {
	fs := functions{"tag": c.tag, "log": c.line}
	for name, op := range map[string]agent.OpKind{"set": agent.SetHeader, "add": agent.AddHeader, "remove": agent.RemoveHeader} {
		fs[name+"_request_header"] = c.headerOp(op, &c.verdict.RequestOps)
		fs[name+"_response_header"] = c.headerOp(op, &c.verdict.ResponseOps)
	}
	fs["allow"] = c.decision(func(*lua.LState) *agent.Verdict { return agent.Allow() })
	fs["block"] = c.decision(block)
	fs["redirect"] = c.decision(redirect)
	fs["challenge"] = c.decision(challenge)
	fill(l, l.G.Global, fs)
}

// decision is a function that decides. A script decides once: a second decision is its mistake, and which
// one was meant is not ours to guess.
func (c *call) decision(make func(l *lua.LState) *agent.Verdict) lua.LGFunction {
	return func(l *lua.LState) int {
		if c.decided {
			l.RaiseError("the script has decided already")
		}
		v := make(l)
		if c.event == onResponse && v.Decision != agent.Allowed {
			l.RaiseError("a response cannot be refused, only changed")
		}
		c.decided = true
		v.RequestOps, v.ResponseOps, v.Audit = c.verdict.RequestOps, c.verdict.ResponseOps, c.verdict.Audit
		*c.verdict = *v
		l.Push(lua.LTrue)
		return 1
	}
}

func block(l *lua.LState) *agent.Verdict {
	status := l.OptInt(1, 403)
	if status < 200 || status > 599 {
		l.ArgError(1, "want a status from 200 to 599")
	}
	return agent.Block(status, text(l, 2))
}

func redirect(l *lua.LState) *agent.Verdict {
	status := l.CheckInt(1)
	switch status {
	case 301, 302, 303, 307, 308:
	default:
		l.ArgError(1, "want 301, 302, 303, 307 or 308")
	}
	url := text(l, 2)
	if url == "" || strings.ContainsFunc(url, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		l.ArgError(2, "want a URL")
	}
	return agent.Redirect(status, url)
}

func challenge(l *lua.LState) *agent.Verdict {
	params := map[string]string{}
	l.OptTable(2, l.NewTable()).ForEach(func(k, v lua.LValue) {
		if !lua.LVCanConvToString(k) || !lua.LVCanConvToString(v) || len(params) == maxParams || size(k)+size(v) > maxAnswer/maxParams {
			l.ArgError(2, "want up to 32 short strings by name")
		}
		params[lua.LVAsString(k)] = lua.LVAsString(v)
	})
	kind := text(l, 1)
	if !httpguts.ValidHeaderFieldName(kind) || len(kind) > maxTag {
		l.ArgError(1, "want a word")
	}
	return agent.Challenge(kind, params)
}

// text returns a string argument of bounded length, empty if there is none.
func text(l *lua.LState, i int) string {
	s := l.OptString(i, "")
	if len(s) > maxAnswer {
		l.ArgError(i, "too long")
	}
	return s
}

func (c *call) headerOp(kind agent.OpKind, ops *[]agent.HeaderOp) lua.LGFunction {
	return func(l *lua.LState) int {
		op := agent.HeaderOp{Kind: kind, Name: l.CheckString(1)}
		if !httpguts.ValidHeaderFieldName(op.Name) || len(op.Name) > maxTag {
			l.ArgError(1, "not a header name")
		}
		if kind != agent.RemoveHeader {
			l.CheckString(2)
			op.Value = text(l, 2)
		}
		if !httpguts.ValidHeaderFieldValue(op.Value) {
			l.ArgError(2, "not a header value")
		}
		if len(*ops) == maxOps {
			l.RaiseError("more than %d changes of headers", maxOps)
		}
		*ops = append(*ops, op)
		return 0
	}
}

// tag adds tags for the audit log.
func (c *call) tag(l *lua.LState) int {
	for i := 1; i <= l.GetTop(); i++ {
		tag := l.CheckString(i)
		if len(tag) > maxTag || len(c.verdict.Audit.Tags) == maxTags {
			l.RaiseError("more than %d tags, or one of more than %d bytes", maxTags, maxTag)
		}
		c.verdict.WithTag(tag)
	}
	return 0
}

// line writes a line to the agent's log; beyond a call's few lines nothing.
func (c *call) line(l *lua.LState) int {
	s := l.ToStringMeta(l.CheckAny(1)).String()
	if c.lines < maxLogs {
		c.lines++
		c.log(s[:min(len(s), maxLine)])
	}
	return 0
}
