package sentinel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
)

// AgentReport is what an agent said. Its words are in ASCII, as Go writes strings, and cut at 512 bytes.
type AgentReport struct {
	Address       string         `json:"address"`
	Transport     string         `json:"transport"` // "unix" or "grpc"
	Dialect       string         `json:"dialect"`   // "unknown": it was not found out
	Name          string         `json:"name"`      // empty: the dialect does not tell; likewise the version
	Version       string         `json:"version"`
	MaxConcurrent int            `json:"max_concurrent_requests"` // 0: it did not say
	Cancels       bool           `json:"cancellation"`            // it wants to be told of requests that end early
	ConnectMillis float64        `json:"connect_ms"`              // finding out the dialect and giving it its config included
	Notes         []string       `json:"notes"`                   // warnings, and messages of the agent's
	Verdicts      []AgentVerdict `json:"verdicts"`                // on the headers and, if they may pass, on the body
	Failure       *AgentFailure  `json:"failure"`                 // nil: there is a verdict on every question
}

// AgentVerdict is what an agent said to one event.
type AgentVerdict struct {
	Event           string            `json:"event"`
	Decision        string            `json:"decision"` // "allow", "block", "redirect" or "challenge"
	Status          int               `json:"status,omitempty"`
	Body            string            `json:"body,omitempty"`    // of a block
	Headers         map[string]string `json:"headers,omitempty"` // of a block
	URL             string            `json:"url,omitempty"`
	Challenge       string            `json:"challenge_type,omitempty"`
	Params          map[string]string `json:"params,omitempty"` // of a challenge
	RequestHeaders  []HeaderChange    `json:"request_headers,omitempty"`
	ResponseHeaders []HeaderChange    `json:"response_headers,omitempty"`
	BodyBytes       *int              `json:"replaced_body_bytes,omitempty"` // nil: the body stays
	NeedsMore       bool              `json:"needs_more,omitempty"`
	Tags            []string          `json:"tags,omitempty"`
	RuleIDs         []string          `json:"rule_ids,omitempty"`
	ReasonCodes     []string          `json:"reason_codes,omitempty"`
	Confidence      *float64          `json:"confidence,omitempty"`
	Custom          map[string]string `json:"custom,omitempty"` // values in JSON
	Millis          float64           `json:"round_trip_ms"`
}

// HeaderChange is a change of a header that an agent wants.
type HeaderChange struct {
	Op    string `json:"op"` // "set", "add" or "remove"
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// AgentFailure is why there is no verdict.
type AgentFailure struct {
	Kind     string `json:"kind"`     // as in the metric agent_errors_total, or "config_rejected"
	Problem  string `json:"problem"`  // what was found
	Expected string `json:"expected"` // instead
	Fix      string `json:"fix"`      // the likely one
	Detail   string `json:"detail"`   // what the system, or the agent, said; empty: nothing
}

// String is the failure in one line.
func (f *AgentFailure) String() string {
	text := f.Problem
	if f.Detail != "" {
		text += " (" + f.Detail + ")"
	}
	return text + "; expected " + f.Expected + "; " + f.Fix
}

func newAgentReport(address, transport string) *AgentReport {
	return &AgentReport{
		Address: address, Transport: transport, Dialect: agents.NoDialect.String(), Notes: []string{}, Verdicts: []AgentVerdict{},
	}
}

// greet notes what is known of the agent. A dialect that has no handshake is known by its verdicts only.
func (r *AgentReport) greet(s agents.State) {
	if shakes := s.Dialect != agents.V1 && s.Dialect != agents.G1; shakes || len(r.Verdicts) > 0 {
		r.Dialect = s.Dialect.String()
	}
	r.Name, r.Version, r.MaxConcurrent, r.Cancels = tame(s.Name), tame(s.Version), s.MaxConcurrent, s.Cancels
}

func reportVerdict(v *agent.Verdict, kind agents.EventKind, took float64) AgentVerdict {
	r := AgentVerdict{
		Event: eventNames[kind], Decision: v.Decision.String(), Body: tame(v.Body), Headers: tamePairs(v.Headers), URL: tame(v.URL),
		Challenge: tame(v.Kind), Params: tamePairs(v.Params), RequestHeaders: headerChanges(v.RequestOps),
		ResponseHeaders: headerChanges(v.ResponseOps), NeedsMore: v.NeedsMore, Tags: tameAll(v.Audit.Tags),
		RuleIDs: tameAll(v.Audit.RuleIDs), ReasonCodes: tameAll(v.Audit.ReasonCodes), Confidence: v.Audit.Confidence, Millis: took,
	}
	if v.Decision == agent.Blocked || v.Decision == agent.Redirected {
		r.Status = v.Status
	}
	if v.Replace != nil {
		n := len(*v.Replace)
		r.BodyBytes = &n
	}
	if len(v.Audit.Custom) > 0 {
		r.Custom = make(map[string]string, len(v.Audit.Custom))
		for name, value := range v.Audit.Custom {
			r.Custom[tame(name)] = tame(string(value))
		}
	}
	return r
}

var opWords = [...]string{agent.RemoveHeader: "remove", agent.SetHeader: "set", agent.AddHeader: "add"}

func headerChanges(ops []agent.HeaderOp) (list []HeaderChange) {
	for _, op := range ops {
		list = append(list, HeaderChange{opWords[op.Kind], tame(op.Name), tame(op.Value)})
	}
	return list
}

func tameAll(words []string) (tamed []string) {
	for _, w := range words {
		tamed = append(tamed, tame(w))
	}
	return tamed
}

func tamePairs(words map[string]string) map[string]string {
	tamed := make(map[string]string, len(words))
	for name, value := range words {
		tamed[tame(name)] = tame(value)
	}
	return tamed
}

// socketProblem says what keeps a path from being an agent's socket; nil: nothing that shows.
func socketProblem(path string) *AgentFailure {
	f := &AgentFailure{Kind: agents.Unavailable.String(), Expected: "the Unix socket of a running agent"}
	info, err := os.Stat(path)
	switch {
	case len(path) > maxUnixSocket:
		f.Problem, f.Fix = fmt.Sprintf("the path has %d bytes, at most %d can be a socket's", len(path), maxUnixSocket), "give the agent a shorter path"
	case errors.Is(err, fs.ErrNotExist):
		f.Problem, f.Fix = "there is no "+path, "start the agent, or correct the path"
	case errors.Is(err, fs.ErrPermission):
		f.Problem, f.Fix = "permission denied at "+path, "run as a user who may enter its directory"
	case err != nil:
		f.Problem, f.Fix, f.Detail = "cannot look at "+path, "correct the path", tame(err.Error())
	case info.IsDir():
		f.Problem, f.Fix = path+" is a directory", "name the socket in it"
	case info.Mode()&os.ModeSocket == 0:
		f.Problem, f.Fix = path+" is no socket", "name the path that the agent listens on"
	default:
		return nil
	}
	return f
}

// explain says what a failure to get a verdict most likely means.
func (c *agentCheck) explain(err error) *AgentFailure {
	kind := rootKind(err)
	f := &AgentFailure{Kind: kind.String(), Expected: "a verdict", Detail: tame(err.Error())}
	var plain tls.RecordHeaderError
	var untrusted *tls.CertificateVerificationError
	switch {
	case c.rejected.Load():
		f.Kind, f.Problem, f.Expected, f.Fix = "config_rejected", "the agent refused the config", "a config that it takes", "compare the config with the agent's documentation"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Problem, f.Expected, f.Fix = "nothing listens at "+c.q.Address, "a running agent", "start it, or correct the address: what an agent that was killed leaves behind answers no more"
	case errors.Is(err, fs.ErrPermission):
		f.Problem, f.Expected, f.Fix = "permission denied at "+c.q.Address, "a socket that this user may write to", "run as the user or group that the socket belongs to"
	case errors.As(err, &plain):
		f.Problem, f.Expected, f.Fix = "the agent speaks no TLS", "TLS", "use http://"
	case errors.As(err, &untrusted):
		f.Problem, f.Expected, f.Fix = "the agent's certificate is not trusted", "one of a known authority", "name the authority with --ca-cert"
	case errors.Is(err, context.Canceled):
		f.Kind, f.Problem, f.Fix = agents.Canceled.String(), "the check was interrupted", "run it again"
	case kind == agents.TimedOutCall, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		f.Kind, f.Problem = agents.TimedOutCall.String(), fmt.Sprintf("no answer within %s", c.q.Timeout)
		f.Fix = "see whether it is an agent of this protocol, name its --protocol, or give it more --timeout"
	case kind == agents.BadReply:
		f.Problem, f.Fix = "the answer is no verdict", "see whether it is an agent of this protocol, or name its --protocol"
	default:
		f.Problem, f.Fix = "the connection brought no verdict", "see the agent's own log, or name its --protocol"
	}
	return f
}

// rootKind is the kind of the failure that caused the others.
func rootKind(err error) (kind agents.FailureKind) {
	for f := (*agents.Failure)(nil); errors.As(err, &f); err = f.Err {
		kind = f.Kind
	}
	return kind
}
