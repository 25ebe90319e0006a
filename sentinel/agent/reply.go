package agent

import (
	"encoding/base64"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	defaultBlock    = 403
	defaultRedirect = 302
)

var opWords = [...]string{RemoveHeader: "remove", SetHeader: "set", AddHeader: "add"}

// word returns the operation's word in the protocol; what is no operation removes.
func (k OpKind) word() string {
	if int(k) < len(opWords) {
		return opWords[k]
	}
	return opWords[RemoveHeader]
}

// appendDecision appends the decision as all dialects write it. No decision is null, which no proxy takes
// for an allow.
func appendDecision(dst []byte, v *Verdict) []byte {
	switch v.Decision {
	case Allowed:
		return append(dst, `"allow"`...)
	case Blocked:
		return appendBlock(dst, v)
	case Redirected:
		dst = appendText(append(dst, `{"redirect":{"url":`...), v.URL)
		dst = appendInt(append(dst, `,"status":`...), v.Status, defaultRedirect)
		return append(dst, `}}`...)
	case Challenged:
		dst = appendText(append(dst, `{"challenge":{"challenge_type":`...), v.Kind)
		dst = appendPairs(append(dst, `,"params":`...), v.Params)
		return append(dst, `}}`...)
	default:
		return append(dst, `null`...)
	}
}

func appendBlock(dst []byte, v *Verdict) []byte {
	dst = appendInt(append(dst, `{"block":{"status":`...), v.Status, defaultBlock)
	if v.Body != "" {
		dst = appendText(append(dst, `,"body":`...), v.Body)
	}
	if len(v.Headers) > 0 {
		dst = appendPairs(append(dst, `,"headers":`...), v.Headers)
	}
	return append(dst, `}}`...)
}

func appendInt(dst []byte, n, zero int) []byte {
	if n == 0 {
		n = zero
	}
	return strconv.AppendInt(dst, int64(n), 10)
}

func appendPairs(dst []byte, pairs map[string]string) []byte {
	dst = append(dst, '{')
	o := object{}
	for name, value := range pairs {
		dst = appendText(o.name(dst, name), value)
	}
	return append(dst, '}')
}

// object puts the commas between an object's members.
type object struct{ begun bool }

func (o *object) name(dst []byte, name string) []byte {
	if o.begun {
		dst = append(dst, ',')
	}
	o.begun = true
	return append(appendText(dst, name), ':')
}

// appendAudit appends the audit data that there is, without empty members.
func appendAudit(dst []byte, a *Audit) []byte {
	dst = append(dst, '{')
	o := object{}
	list := func(name string, values []string) {
		if len(values) > 0 {
			dst = appendList(o.name(dst, name), values)
		}
	}
	list("tags", a.Tags)
	list("rule_ids", a.RuleIDs)
	if a.confident() {
		dst = appendConfidence(o.name(dst, "confidence"), a)
	}
	list("reason_codes", a.ReasonCodes)
	if len(a.Custom) > 0 {
		dst = appendCustom(o.name(dst, "custom"), a, "")
	}
	return append(dst, '}')
}

// empty reports whether there is nothing to tell.
func (a *Audit) empty() bool {
	return len(a.Tags)+len(a.RuleIDs)+len(a.ReasonCodes)+len(a.Custom) == 0 && !a.confident()
}

// confident reports whether there is a confidence that JSON can say.
func (a *Audit) confident() bool {
	return a.Confidence != nil && !math.IsNaN(*a.Confidence) && !math.IsInf(*a.Confidence, 0)
}

func appendConfidence(dst []byte, a *Audit) []byte {
	if !a.confident() {
		return append(dst, `null`...)
	}
	return strconv.AppendFloat(dst, *a.Confidence, 'g', -1, 64)
}

// appendCustom appends the custom members, those that are JSON, and the correlation id, if the dialect hides
// it there.
func appendCustom(dst []byte, a *Audit, correlation string) []byte {
	dst = append(dst, '{')
	o := object{}
	for name, value := range a.Custom {
		taken := name == correlationMember && correlation != ""
		if !taken && jsontext.Value(value).IsValid() {
			dst = append(o.name(dst, name), value...)
		}
	}
	if correlation != "" {
		dst = appendText(o.name(dst, correlationMember), correlation)
	}
	return append(dst, '}')
}

func appendList(dst []byte, values []string) []byte {
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, v)
	}
	return append(dst, ']')
}

func appendBase64(dst, data []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, '"')
}
