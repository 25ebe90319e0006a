package sentinel

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
)

// recordAgent records an exchange that an agent ended: by what it decided, or by failing in closed mode.
func (x *exchange) recordAgent(info *ReasonInfo, took time.Duration) {
	c := x.counsel
	if isRuling(x.reason) {
		x.p.metrics.Blocked(kindWord(c.decided.b.kind))
		x.auditAgent(c.decided, c.ruling.Decision.String(), x.reason, "")
		return
	}
	x.p.metrics.Blocked(info.Word)
	x.cause = "agent " + c.decided.b.id + ": " + c.cause
	x.logError(info, took)
	x.auditAgent(c.decided, "fail_closed", x.reason, c.cause)
}

// agentKinds are the labels of what agents block.
var agentKinds = []string{"waf", "auth", "rate_limit", "policy"}

// kindWord is the label of what an agent of a type blocks: those of an operator's own types are policy.
func kindWord(kind string) string {
	if slices.Contains(agentKinds, kind) {
		return kind
	}
	return "policy"
}

// auditAgent writes what an agent did to the exchange, or what became of it because the agent failed.
func (x *exchange) auditAgent(s *seat, action string, r Reason, cause string) {
	e := telemetry.AuditEntry{
		Time: time.Now(), TraceID: x.trace, Event: telemetry.EventAgentDecision, Method: x.req.Method, Path: x.req.RawTarget,
		ClientIP: x.clientAddr(), Route: x.route.id, Reason: r.String(), Agent: s.b.id, Action: action, Status: x.status,
	}
	for i := range s.c.seats { // what the others found counts, too, once the request is refused
		if o := &s.c.seats[i]; o.verdict != nil && (o == s || isRuling(r)) {
			e.RuleIDs = append(e.RuleIDs, o.verdict.Audit.RuleIDs...)
			e.Tags = append(e.Tags, o.verdict.Audit.Tags...)
		}
	}
	e.Tags = append(e.Tags, "agent:"+s.b.id)
	e.Metadata = x.agentMetadata(s, cause)
	x.p.logs.Load().audit.Write(&e)
}

// agentMetadata is what is known of a decision beside the fields that every entry has. The log cuts it.
func (x *exchange) agentMetadata(s *seat, cause string) []telemetry.Attribute {
	var pairs []string
	if x.chosen {
		pairs = append(pairs, "correlation_id", string(s.c.request.CorrelationID))
	}
	if cause != "" {
		pairs = append(pairs, "cause", cause)
	}
	if s.verdict == nil {
		return attributes(pairs...)
	}
	a := &s.verdict.Audit
	if len(a.ReasonCodes) > 0 {
		pairs = append(pairs, "reason_codes", strings.Join(a.ReasonCodes, ","))
	}
	if a.Confidence != nil {
		pairs = append(pairs, "confidence", strconv.FormatFloat(*a.Confidence, 'g', 3, 64))
	}
	if len(a.Custom) > 0 {
		if text, err := json.Marshal(a.Custom); err == nil { // it came as JSON
			pairs = append(pairs, "custom", string(text))
		}
	}
	return attributes(pairs...)
}

// auditAllowed writes what an agent that let the request pass wants to have on record.
func (x *exchange) auditAllowed(s *seat, kind agents.EventKind) {
	if a := &s.verdict.Audit; len(a.RuleIDs) > 0 || len(a.Tags) > 0 || len(a.ReasonCodes) > 0 {
		s.audited[kind] = true
		x.auditAgent(s, "allow", none, "")
	}
}

// noteRefused tells the error log of a change that an agent may not make.
func (x *exchange) noteRefused(s *seat, op *agent.HeaderOp) {
	x.noteAgent(s, "agent_header_refused", "An agent wants to change a header that it may not, or in a way that would break the message.", "header "+op.Name)
}

// noteIgnored tells the error log of a refusal that comes too late.
func (x *exchange) noteIgnored(s *seat) {
	x.noteAgent(s, "agent_refusal_ignored", "An agent refused a response: it may change one, the upstream has acted already.", s.verdict.Decision.String())
}

func (x *exchange) noteAgent(s *seat, kind, message, details string) {
	x.p.logs.Load().errors.Write(&telemetry.ErrorEntry{
		Time: time.Now(), TraceID: x.trace, Level: telemetry.LevelWarn, Message: message, ErrorType: kind, Status: x.status,
		ClientIP: x.clientAddr(), Duration: time.Since(x.started), Route: x.route.id, Details: "agent " + s.b.id + ": " + details,
	})
}

// bypassed tells the logs of a request that passes without an agent's verdict.
func (x *exchange) bypassed(s *seat, r Reason, cause string) {
	x.auditAgent(s, "fail_open", r, cause)
	x.noteAgent(s, r.String(), "The request goes on without the agent's verdict: its failure mode is open.", cause)
}

// logNotice tells the logs of a change in an agent's state.
func (p *Proxy) logNotice(at time.Time, id string, n *agents.Notice) {
	detail := tame(n.Detail)
	switch n.Kind {
	case agents.BreakerChanged:
		from, to := n.From.String(), n.To.String()
		p.log.Warn("circuit breaker "+to, "agent", id, "from", from, "cause", n.Cause)
		p.logs.Load().audit.Write(&telemetry.AuditEntry{
			Time: at, Event: telemetry.EventCircuitBreakerChange, Agent: id, Reason: n.Cause, Action: to,
			Metadata: attributes("component", "agent:"+id, "from", from, "to", to),
		})
	case agents.Connected:
		p.log.Info("agent connected", "agent", id, "dialect", n.Dialect.String(), "detail", detail)
	case agents.Disconnected:
		p.log.Warn("agent not connected", "agent", id, "cause", n.Cause, "detail", detail)
	case agents.ConfigRejected:
		p.log.Error("agent refused its config: its failure mode decides", "agent", id, "detail", detail)
	case agents.Warning:
		p.log.Warn("agent", "agent", id, "cause", n.Cause, "detail", detail)
	case agents.Message:
		p.log.Info("agent says", "agent", id, "detail", detail)
	}
}
