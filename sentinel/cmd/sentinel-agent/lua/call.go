package lua

import (
	"context"
	"errors"
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// The functions that a script may define.
const (
	onRequest  = "on_request_headers"
	onResponse = "on_response_headers"
)

// call is one run of a script: a state, what bounds it, and the verdict it makes. One goroutine uses it.
type call struct {
	event   string // which function of the script it is for; empty: a look at what there is
	budget  *budget
	verdict *agent.Verdict
	decided bool
	lines   int // logged
	log     func(line string)
}

// run runs the script's top level, then its function for the event.
func (c *call) run(p *program, r *agent.Request, resp *agent.Response) (*agent.Verdict, error) {
	c.verdict = agent.Allow()
	l := c.newState()
	defer l.Close()
	c.helpers(l)
	if err := c.protect(l, l.NewFunctionFromProto(p.proto), 0); err != nil {
		return nil, err
	}
	arguments := []lua.LValue{requestTable(l, r)}
	if resp != nil {
		arguments = append(arguments, responseTable(l, resp))
	}
	if err := c.protect(l, l.GetGlobal(c.event), 1, arguments...); err != nil {
		return nil, err
	}
	if result := l.Get(-1); result != lua.LNil && result != lua.LTrue {
		return nil, fmt.Errorf("%s returned a %s: want nothing, true or a decision", c.event, result.Type())
	}
	return c.verdict, nil
}

// inspect runs a script's top level and returns the events it has functions for.
func (c *call) inspect(proto *lua.FunctionProto) (*program, error) {
	c.verdict = agent.Allow()
	l := c.newState()
	defer l.Close()
	c.helpers(l)
	if err := c.protect(l, l.NewFunctionFromProto(proto), 0); err != nil {
		return nil, err
	}
	p := &program{proto: proto, handlers: map[string]bool{}}
	for _, event := range []string{onRequest, onResponse} {
		switch f := l.GetGlobal(event); f.Type() {
		case lua.LTFunction:
			p.handlers[event] = true
		case lua.LTNil:
		default:
			return nil, fmt.Errorf("%s is a %s, want a function", event, f.Type())
		}
	}
	if len(p.handlers) == 0 {
		return nil, fmt.Errorf("the script defines neither %s nor %s", onRequest, onResponse)
	}
	return p, nil
}

// protect calls a function. A spent budget is an error also when the script caught it.
func (c *call) protect(l *lua.LState, f lua.LValue, results int, arguments ...lua.LValue) error {
	err := l.CallByParam(lua.P{Fn: f, NRet: results, Protect: true}, arguments...)
	if c.budget.err != nil {
		return c.budget.err
	}
	var raised *lua.ApiError
	if errors.As(err, &raised) {
		return errors.New(message(raised)) // the rest of it is a stack trace
	}
	return err //nolint:wrapcheck // nil
}

// message returns what a script raised, which may be any value: only strings and numbers are looked at.
func message(raised *lua.ApiError) string {
	if lua.LVCanConvToString(raised.Object) {
		text := lua.LVAsString(raised.Object)
		return text[:min(len(text), maxLine)]
	}
	if raised.Object == nil {
		return "an error without a value"
	}
	return "an error that is a " + raised.Object.Type().String()
}

func requestTable(l *lua.LState, r *agent.Request) *lua.LTable {
	t := l.NewTable()
	path, query, _ := strings.Cut(r.URI, "?")
	for name, value := range map[string]string{
		"method": r.Method, "uri": r.URI, "path": path, "query": query, "client_ip": r.ClientIP, "server_name": r.ServerName,
		"protocol": r.Protocol, "tls_version": r.TLSVersion, "route": r.RouteID, "upstream": r.UpstreamID, "request_id": r.RequestID,
	} {
		t.RawSetString(name, lua.LString(value))
	}
	fillHeaders(l, t, r.Headers)
	return t
}

func responseTable(l *lua.LState, r *agent.Response) *lua.LTable {
	t := l.NewTable()
	t.RawSetString("status", lua.LNumber(r.Status))
	fillHeaders(l, t, r.Headers)
	return t
}

// fillHeaders gives a table the first values of headers by name, and a function for all values of one.
func fillHeaders(l *lua.LState, t *lua.LTable, headers agent.Headers) {
	first := l.NewTable()
	for name, values := range headers {
		if len(values) > 0 {
			first.RawSetString(strings.ToLower(name), lua.LString(values[0]))
		}
	}
	t.RawSetString("headers", first)
	t.RawSetString("header_values", l.NewFunction(func(l *lua.LState) int {
		all := l.NewTable()
		for _, v := range headers[strings.ToLower(l.CheckString(1))] {
			all.Append(lua.LString(v))
		}
		l.Push(all)
		return 1
	}))
}

// newCall returns a call within the agent's limits.
func (s *Script) newCall(ctx context.Context, event string, log func(string)) *call {
	return &call{event: event, budget: newBudget(ctx, s.options.Instructions, s.options.Timeout), log: log}
}
