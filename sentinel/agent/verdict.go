package agent

import "encoding/json"

// Decision is what becomes of a request.
type Decision uint8

// The decisions. The zero one is none: a handler that returns it has failed, and the proxy's failure mode
// decides.
const (
	Undecided Decision = iota
	Allowed
	Blocked
	Redirected
	Challenged
)

var decisionWords = [...]string{"undecided", "allow", "block", "redirect", "challenge"}

// String returns the decision's word in the protocol, in logs and in metrics.
func (d Decision) String() string { return decisionWords[d] }

// Verdict is an agent's answer to one event. Make one with Allow, Block, Redirect or Challenge and add to it.
type Verdict struct {
	Decision Decision
	Status   int               // of a block (0: 403) or a redirect (0: 302)
	Body     string            // of a block; empty: the proxy's words
	Headers  map[string]string // of a block
	URL      string            // of a redirect
	Kind     string            // of a challenge
	Params   map[string]string // of a challenge

	// RequestOps change the request on its way to the upstream, ResponseOps the response on its way to the
	// client, whichever event they answer. They only count with Allow.
	RequestOps, ResponseOps []HeaderOp
	// Replace is what the body's chunk becomes; nil leaves it as it is, an empty slice drops it. Only a
	// verdict on a body event may have one.
	Replace *[]byte
	// NeedsMore says that the decision stands only until the next chunk of the body.
	NeedsMore bool
	Audit     Audit
}

// OpKind is what a HeaderOp does.
type OpKind uint8

// The kinds, in the order in which the ops of one verdict are applied.
const (
	RemoveHeader OpKind = iota
	SetHeader           // replaces every value
	AddHeader           // adds a value
)

// HeaderOp is one change of a header.
type HeaderOp struct {
	Kind        OpKind
	Name, Value string
}

// Audit is what the proxy's audit log shall say of a decision.
type Audit struct {
	Tags        []string
	RuleIDs     []string
	Confidence  *float64 // 0 to 1
	ReasonCodes []string
	Custom      map[string]json.RawMessage
}

// Allow lets the request pass.
func Allow() *Verdict { return &Verdict{Decision: Allowed} }

// Block refuses the request with a status from 200 to 599 and a body, which may be empty.
func Block(status int, body string) *Verdict {
	return &Verdict{Decision: Blocked, Status: status, Body: body}
}

// Redirect sends the client to a URL with 301, 302, 303, 307 or 308.
func Redirect(status int, url string) *Verdict {
	return &Verdict{Decision: Redirected, Status: status, URL: url}
}

// Challenge makes the client prove something first. The proxy answers 403 and never lets the request pass.
func Challenge(kind string, params map[string]string) *Verdict {
	return &Verdict{Decision: Challenged, Kind: kind, Params: params}
}

// SetRequestHeader gives the request a field with exactly this value.
func (v *Verdict) SetRequestHeader(name, value string) *Verdict {
	v.RequestOps = append(v.RequestOps, HeaderOp{SetHeader, name, value})
	return v
}

// AddRequestHeader gives the request one more field.
func (v *Verdict) AddRequestHeader(name, value string) *Verdict {
	v.RequestOps = append(v.RequestOps, HeaderOp{AddHeader, name, value})
	return v
}

// RemoveRequestHeader takes every field of a name from the request.
func (v *Verdict) RemoveRequestHeader(name string) *Verdict {
	v.RequestOps = append(v.RequestOps, HeaderOp{Kind: RemoveHeader, Name: name})
	return v
}

// SetResponseHeader gives the response a field with exactly this value.
func (v *Verdict) SetResponseHeader(name, value string) *Verdict {
	v.ResponseOps = append(v.ResponseOps, HeaderOp{SetHeader, name, value})
	return v
}

// AddResponseHeader gives the response one more field.
func (v *Verdict) AddResponseHeader(name, value string) *Verdict {
	v.ResponseOps = append(v.ResponseOps, HeaderOp{AddHeader, name, value})
	return v
}

// RemoveResponseHeader takes every field of a name from the response.
func (v *Verdict) RemoveResponseHeader(name string) *Verdict {
	v.ResponseOps = append(v.ResponseOps, HeaderOp{Kind: RemoveHeader, Name: name})
	return v
}

// SetHeader gives the answer of a block a field.
func (v *Verdict) SetHeader(name, value string) *Verdict {
	if v.Headers == nil {
		v.Headers = map[string]string{}
	}
	v.Headers[name] = value
	return v
}

// ReplaceBody puts data in the place of the chunk that the verdict is about; empty data drops it.
func (v *Verdict) ReplaceBody(data []byte) *Verdict {
	v.Replace = &data
	return v
}

// WithRule names the rules that led to the verdict, for the audit log.
func (v *Verdict) WithRule(ids ...string) *Verdict {
	v.Audit.RuleIDs = append(v.Audit.RuleIDs, ids...)
	return v
}

// WithTag adds tags for the audit log.
func (v *Verdict) WithTag(tags ...string) *Verdict {
	v.Audit.Tags = append(v.Audit.Tags, tags...)
	return v
}

// WithReason adds reason codes for the audit log.
func (v *Verdict) WithReason(codes ...string) *Verdict {
	v.Audit.ReasonCodes = append(v.Audit.ReasonCodes, codes...)
	return v
}
