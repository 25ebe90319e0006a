package sentinel

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// AgentQuery is a running agent and a request to ask it about. No configuration is needed.
type AgentQuery struct {
	Address  string        // a Unix socket's path; host:port, http:// or https:// for gRPC
	Protocol string        // "v1", "v2" or "auto": find out
	Config   []byte        // JSON of the agent's config block; nil: none
	Timeout  time.Duration // for the handshake, and for each verdict
	CACert   string        // PEM file that the certificate of https:// must lead to; empty: the system's
	Request  RouteQuery    // the listener does not matter
	Body     string        // of the request; empty: none
	ClientIP string        // whom the request comes from
}

// agentCheckID is how a check calls the agent, and the route of its request.
const agentCheckID = "agent-check"

// sampleLimits bound the request of a check, as a configuration without limits of its own does.
var sampleLimits = wire.Limits{Line: 8 << 10, Size: 8 << 10, Count: 100, Name: 256, Value: 8 << 10}

// CheckAgent connects to an agent as the proxy would, asks it about one request, and leaves. The error says
// what is wrong with the query; what is wrong with the agent is the report's Failure. It takes four timeouts at
// most, and ends earlier with ctx.
func CheckAgent(ctx context.Context, q *AgentQuery) (*AgentReport, error) {
	o, err := q.options()
	if err != nil {
		return nil, err
	}
	request, err := q.sample()
	if err != nil {
		return nil, err
	}
	c := &agentCheck{
		q: q, report: newAgentReport(q.Address, o.Network), request: request,
		notices: make(chan agents.Notice, 16), attempted: make(chan struct{}, 1),
	}
	if o.Network == "unix" {
		if c.report.Failure = socketProblem(o.Address); c.report.Failure != nil {
			return c.report, nil
		}
	}
	o.Notify = c.notice
	if c.agent, err = agents.New(*o); err != nil {
		return nil, fmt.Errorf("checking: %w", err)
	}
	c.run(ctx)
	return c.report, nil
}

// options are those with which the proxy would use the agent, as far as one request at a time needs them.
func (q *AgentQuery) options() (*agents.Options, error) {
	o := &agents.Options{
		ID: agentCheckID, Timeout: q.Timeout, MaxCalls: 1, Links: 1, IdleTimeout: time.Minute, Config: q.Config, ProxyVersion: Version,
	}
	switch q.Protocol {
	case "v1":
		o.Protocol = 1
	case "v2":
		o.Protocol = 2
	case "auto":
	default:
		return nil, fmt.Errorf("protocol %q, expected v1, v2 or auto", q.Protocol)
	}
	if q.Timeout < time.Millisecond || q.Timeout > time.Hour {
		return nil, fmt.Errorf("timeout %s, expected 1ms to 1h", q.Timeout)
	}
	if q.Config != nil && !json.Valid(q.Config) {
		return nil, errors.New("the agent's config is no JSON")
	}
	return o, q.locate(o)
}

// locate finds out what the address is: what is no URL and no host:port is a path.
func (q *AgentQuery) locate(o *agents.Options) error {
	o.Network, o.Address = "grpc", q.Address
	plain, isPlain := strings.CutPrefix(q.Address, "http://")
	secure, isSecure := strings.CutPrefix(q.Address, "https://")
	switch {
	case isPlain:
		o.Address = strings.TrimSuffix(plain, "/")
	case isSecure:
		o.Address = strings.TrimSuffix(secure, "/")
		var err error
		if o.TLS, err = q.tls(); err != nil {
			return err
		}
	case q.CACert != "":
		return errors.New("a CA certificate without https://")
	case strings.Contains(q.Address, "/") || !strings.Contains(q.Address, ":"):
		o.Network = "unix"
	}
	if o.Address == "" {
		return errors.New("no address")
	}
	if host, port, err := net.SplitHostPort(o.Address); o.Network == "grpc" && (err != nil || host == "" || port == "") {
		return fmt.Errorf("address %q, expected host:port", o.Address)
	}
	return nil
}

func (q *AgentQuery) tls() (*tls.Config, error) { return agentTLS(&config.AgentTLS{CACert: q.CACert}) }

// sample makes the request that the agent is told of. It passes through the same codec as one from the network.
func (q *AgentQuery) sample() (*agents.Request, error) {
	client, err := netip.ParseAddr(q.ClientIP)
	if err != nil {
		return nil, fmt.Errorf("client address: %w", err)
	}
	query := q.Request
	if q.Body != "" {
		query.Headers = append(query.Headers[:len(query.Headers):len(query.Headers)], fmt.Sprintf("Content-Length: %d", len(q.Body)))
	}
	req, err := query.parse(&sampleLimits)
	if err != nil {
		return nil, err
	}
	id := []byte(agentCheckID + "-" + rand.Text())
	framing, _ := req.Body()
	return &agents.Request{
		CorrelationID: id, RequestID: id, Client: netip.AddrPortFrom(client, 0), ServerName: req.Host, Protocol: "HTTP/1.1",
		Route: agentCheckID, Time: time.Now(), Method: req.Method, Path: req.Path, Query: req.Query, HasQuery: req.HasQuery,
		Host: req.Authority, Fields: shownToAgents(req.Fields), HasBody: framing != wire.NoBody,
	}, nil
}

// agentCheck is one check under way.
type agentCheck struct {
	q         *AgentQuery
	report    *AgentReport
	request   *agents.Request
	agent     *agents.Agent
	session   agents.Session
	notices   chan agents.Notice // what there is to note; what does not fit is lost
	attempted chan struct{}      // holds that it is known how the first attempt to connect went
	rejected  atomic.Bool        // the agent refused its config
}

// notice is told by the agent's goroutines.
func (c *agentCheck) notice(n agents.Notice) {
	switch n.Kind {
	case agents.Warning, agents.Message:
		select {
		case c.notices <- n:
		default:
		}
	case agents.Connected, agents.Disconnected, agents.ConfigRejected:
		if n.Kind == agents.ConfigRejected {
			c.rejected.Store(true)
		}
		select {
		case c.attempted <- struct{}{}:
		default:
		}
	default:
	}
}

func (c *agentCheck) run(ctx context.Context) {
	c.agent.Start()
	defer c.agent.Close(0)
	began := time.Now()
	c.await(ctx)
	c.report.ConnectMillis = millis(time.Since(began))
	c.session.Begin(c.agent, c.request.CorrelationID)
	c.converse(ctx)
	c.report.greet(c.agent.State())
	c.note()
}

// await waits until the agent is connected, or is known not to be: its first question tells why.
func (c *agentCheck) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.q.Timeout)
	defer cancel()
	select {
	case <-c.attempted:
	case <-ctx.Done():
	}
}

// converse asks about the headers and, if they may pass, about the body, and tells the agent that it is over.
func (c *agentCheck) converse(ctx context.Context) {
	v := c.ask(ctx, &agents.Event{Kind: agents.RequestHeaders, Request: c.request})
	if v != nil && v.Decision == agent.Allowed && c.q.Body != "" {
		size := int64(len(c.q.Body))
		v = c.ask(ctx, &agents.Event{Kind: agents.RequestBody, Request: c.request, Chunk: agents.Chunk{
			Data: []byte(c.q.Body), Last: true, Total: size, Sent: size,
		}})
	}
	if v == nil {
		c.session.End(nil)
		return
	}
	status := http.StatusOK
	if v.Decision == agent.Blocked || v.Decision == agent.Redirected {
		status = v.Status
	}
	c.session.End(&agents.Event{Kind: agents.RequestComplete, Request: c.request, Complete: agents.Complete{Status: status}})
}

// ask returns the verdict, nil if there is none.
func (c *agentCheck) ask(ctx context.Context, e *agents.Event) *agent.Verdict {
	ctx, cancel := context.WithTimeout(ctx, c.q.Timeout)
	defer cancel()
	began := time.Now()
	v, err := c.session.Ask(ctx, e)
	took := millis(time.Since(began))
	if err != nil {
		c.report.Failure = c.explain(err)
		return nil
	}
	c.report.Verdicts = append(c.report.Verdicts, reportVerdict(v, e.Kind, took))
	return v
}

// note adds what the agent, or the proxy's side of it, has to say beside.
func (c *agentCheck) note() {
	for {
		select {
		case n := <-c.notices:
			c.report.Notes = append(c.report.Notes, strings.TrimSuffix(n.Cause+": "+tame(n.Detail), ": "))
		default:
			return
		}
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
