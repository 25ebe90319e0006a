package agents

import (
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

const (
	maxOps       = 128      // of a reply, and likewise a block's headers and a challenge's params
	maxOpBytes   = 64 << 10 // of their names and values together
	maxAuditList = 128      // entries; the rest is dropped
	defaultBlock = 403
	defaultMove  = 302
)

// jsonReply is what agents of the JSON dialects answer: the union of their keys. All but the decision may be
// missing or null.
type jsonReply struct {
	RequestID       *uint64        `json:"request_id"`
	Decision        jsontext.Value `json:"decision"`
	RequestHeaders  opList         `json:"request_headers"`
	ResponseHeaders opList         `json:"response_headers"`
	Audit           replyAudit     `json:"audit"`
	NeedsMore       bool           `json:"needs_more"`
	RequestBody     mutation       `json:"request_body_mutation"`
	ResponseBody    mutation       `json:"response_body_mutation"`
}

type replyAudit struct {
	Tags        wordList `json:"tags"`
	RuleIDs     wordList `json:"rule_ids"`
	Confidence  *float64 `json:"confidence"`
	ReasonCodes wordList `json:"reason_codes"`
	Custom      customs  `json:"custom"`
}

type mutation struct {
	Data *string `json:"data"` // base64; null: unchanged
}

// headerOp has the two forms of an op: {"set":{"name":…,"value":…}} and {"operation":"set","name":…}.
type headerOp struct {
	Set       *nameValue `json:"set"`
	Add       *nameValue `json:"add"`
	Remove    *nameValue `json:"remove"`
	Operation string     `json:"operation"`
	nameValue
}

type nameValue struct {
	Name  string  `json:"name"`
	Value *string `json:"value"`
}

// opList, wordList and customs stop to grow where they are full: an entry may be many times larger here than in the reply.
type (
	opList   []headerOp
	wordList []string
	customs  map[string]jsontext.Value
)

// UnmarshalJSONFrom reads up to one op more than an answer may have: whoever looks sees that they are too many.
func (l *opList) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return readList(d, (*[]headerOp)(l), maxOps+1)
}

// UnmarshalJSONFrom leaves out what is too much.
func (l *wordList) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return readList(d, (*[]string)(l), maxAuditList)
}

// UnmarshalJSONFrom reads up to one member more than are kept, and the request's id wherever it is.
func (c *customs) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	open, err := d.ReadToken()
	if err != nil || open.Kind() == 'n' {
		return err
	}
	if open.Kind() != '{' {
		return errNoObject
	}
	*c = customs{}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if len(*c) <= maxAuditList || name == correlationKey {
			(*c)[name] = value.Clone()
		}
	}
	_, err = d.ReadToken()
	return err
}

var (
	errNoList   = errors.New("no list")
	errNoObject = errors.New("no object")
)

// readList reads an array, or null for an empty one, and skips the values after the first most.
func readList[T any](d *jsontext.Decoder, list *[]T, most int) error {
	open, err := d.ReadToken()
	if err != nil || open.Kind() == 'n' {
		return err
	}
	if open.Kind() != '[' {
		return errNoList
	}
	for d.PeekKind() != ']' {
		if len(*list) < most {
			var value T
			err = json.UnmarshalDecode(d, &value)
			*list = append(*list, value)
		} else {
			err = d.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	_, err = d.ReadToken()
	return err
}

// decision is an object with exactly one of these. A value says only that its key is there, also with null.
type decision struct {
	Allow     jsontext.Value `json:"allow"`
	NeedsMore jsontext.Value `json:"needs_more"`
	Block     jsontext.Value `json:"block"`
	Redirect  jsontext.Value `json:"redirect"`
	Challenge jsontext.Value `json:"challenge"`
}

// verdictOf reads the reply of dialect V1 to an event.
func verdictOf(payload []byte, kind EventKind, o *Options) answer {
	var r jsonReply
	if err := json.Unmarshal(payload, &r); err != nil {
		return answer{failure: noReply(err)}
	}
	return r.answer(kind, len(payload), o)
}

// noReply is the failure of a reply that cannot be read. What is wrong with it may quote as much as the agent likes.
func noReply(err error) *Failure { return badReply("no reply in JSON: %s", clip(err.Error())) }

// correlationKey is where agents of dialect V2R put the request's id in a reply's audit data.
const correlationKey = "correlation_id"

// replyOf reads a reply of the dialects of v2, and whose it is. A failure with a key is one of that request
// alone. The zero key without a failure says that the agent knew no request.
func replyOf(payload []byte, d Dialect) (*jsonReply, callKey, *Failure) {
	r := new(jsonReply)
	err := json.Unmarshal(payload, r)
	if err == nil {
		return r, r.key(d), nil
	}
	f := noReply(err)
	var least struct { // if it is only the rest that is wrong
		RequestID *uint64 `json:"request_id"`
		Audit     struct {
			Custom customs `json:"custom"`
		} `json:"audit"`
	}
	if json.Unmarshal(payload, &least) != nil {
		return nil, callKey{}, f
	}
	r = &jsonReply{RequestID: least.RequestID, Audit: replyAudit{Custom: least.Audit.Custom}}
	return r, r.key(d), f
}

// key takes the request's id out of a reply.
func (r *jsonReply) key(d Dialect) (key callKey) {
	if d == V2D {
		if r.RequestID != nil {
			key.number = *r.RequestID
		}
		return key
	}
	if json.Unmarshal(r.Audit.Custom[correlationKey], &key.id) != nil {
		return callKey{}
	}
	delete(r.Audit.Custom, correlationKey)
	return key
}

var (
	errNoDecision = errors.New("a reply without a decision that we know")
	errBadOp      = errors.New("a header op that is neither set, add nor remove")
	errTooMuch    = errors.New("more header ops, headers or params than an answer may have")
	errBadURL     = errors.New("a redirect to what is no URL")
	errTooLong    = errors.New("a reply that is longer than allowed")
)

// answer makes the verdict of a reply of size bytes to an event.
func (r *jsonReply) answer(kind EventKind, size int, o *Options) answer {
	v, err := r.verdict(kind)
	if err == nil && v.Replace == nil && o.MaxReply > 0 && int64(size) > o.MaxReply {
		err = errTooLong
	}
	if err != nil {
		return answer{failure: &Failure{BadReply, err}}
	}
	return answer{verdict: v}
}

func (r *jsonReply) verdict(kind EventKind) (*agent.Verdict, error) {
	v, err := r.decided()
	if err != nil {
		return nil, err
	}
	v.NeedsMore = v.NeedsMore || r.NeedsMore
	if v.RequestOps, err = opsOf(r.RequestHeaders); err != nil {
		return nil, err
	}
	if v.ResponseOps, err = opsOf(r.ResponseHeaders); err != nil {
		return nil, err
	}
	switch kind {
	case RequestBody:
		v.Replace, err = r.RequestBody.decode()
	case ResponseBody:
		v.Replace, err = r.ResponseBody.decode()
	default: // there is no body to replace
	}
	if err != nil {
		return nil, err
	}
	r.Audit.copyTo(&v.Audit)
	return v, checkVerdict(v)
}

// decided reads the decision: a word, or an object with one member.
func (r *jsonReply) decided() (*agent.Verdict, error) {
	if string(r.Decision) == `"allow"` {
		return agent.Allow(), nil
	}
	if r.Decision.Kind() != '{' {
		return nil, errNoDecision
	}
	var d decision
	if err := json.Unmarshal(r.Decision, &d, json.RejectUnknownMembers(true)); err != nil {
		return nil, errNoDecision
	}
	one := 0
	for _, member := range []jsontext.Value{d.Allow, d.NeedsMore, d.Block, d.Redirect, d.Challenge} {
		if len(member) > 0 {
			one++
		}
	}
	if one != 1 {
		return nil, errNoDecision
	}
	return d.verdict()
}

func (d *decision) verdict() (*agent.Verdict, error) {
	switch {
	case string(d.Allow) == "null", emptyObject(d.Allow):
		return agent.Allow(), nil
	case string(d.NeedsMore) == "true":
		return &agent.Verdict{Decision: agent.Allowed, NeedsMore: true}, nil
	case d.Block.Kind() == '{':
		return blocked(d.Block)
	case d.Redirect.Kind() == '{':
		return redirected(d.Redirect)
	case d.Challenge.Kind() == '{':
		return challenged(d.Challenge)
	}
	return nil, errNoDecision
}

func emptyObject(v jsontext.Value) bool {
	var none struct{}
	return v.Kind() == '{' && json.Unmarshal(v, &none, json.RejectUnknownMembers(true)) == nil
}

func blocked(member jsontext.Value) (*agent.Verdict, error) {
	var b struct {
		Status  optionalInt       `json:"status"`
		Body    string            `json:"body"`
		Headers map[string]string `json:"headers"`
	}
	if err := json.Unmarshal(member, &b); err != nil {
		return nil, fmt.Errorf("a block: %w", err)
	}
	return &agent.Verdict{Decision: agent.Blocked, Status: int(b.Status), Body: b.Body, Headers: b.Headers}, nil
}

// optionalInt is a number that may be missing, but not null.
type optionalInt int

var errNoNumber = errors.New("null where a number is expected")

// UnmarshalJSONFrom refuses null.
func (n *optionalInt) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == 'n' {
		return errNoNumber
	}
	return json.UnmarshalDecode(d, (*int)(n))
}

var errNoKind = errors.New("a challenge without a type")

func redirected(member jsontext.Value) (*agent.Verdict, error) {
	var r struct {
		URL    string      `json:"url"`
		Status optionalInt `json:"status"`
	}
	if err := json.Unmarshal(member, &r); err != nil {
		return nil, fmt.Errorf("a redirect: %w", err)
	}
	return agent.Redirect(int(r.Status), r.URL), nil
}

// challenged keeps params that are no strings as the JSON they came in.
func challenged(member jsontext.Value) (*agent.Verdict, error) {
	var c struct {
		Kind   string                    `json:"challenge_type"`
		Params map[string]jsontext.Value `json:"params"`
	}
	if err := json.Unmarshal(member, &c); err != nil {
		return nil, fmt.Errorf("a challenge: %w", err)
	}
	if c.Kind == "" {
		return nil, errNoKind
	}
	params := make(map[string]string, len(c.Params))
	for name, value := range c.Params {
		params[name] = string(value)
		if value.Kind() == '"' {
			word, err := jsontext.AppendUnquote(nil, value)
			if err != nil {
				return nil, fmt.Errorf("a challenge: %w", err)
			}
			params[name] = string(word)
		}
	}
	return agent.Challenge(c.Kind, params), nil
}

func opsOf(list opList) ([]agent.HeaderOp, error) {
	if len(list) == 0 {
		return nil, nil
	}
	if len(list) > maxOps {
		return nil, errTooMuch
	}
	ops := make([]agent.HeaderOp, len(list))
	for i := range list {
		op, ok := list[i].op()
		if !ok {
			return nil, errBadOp
		}
		ops[i] = op
	}
	return ops, nil
}

// op returns what exactly one of the forms says.
func (o *headerOp) op() (op agent.HeaderOp, ok bool) {
	forms := 0
	take := func(kind agent.OpKind, nv *nameValue) {
		forms++
		op = agent.HeaderOp{Kind: kind, Name: nv.Name}
		if nv.Value != nil && kind != agent.RemoveHeader {
			op.Value = *nv.Value
		}
	}
	if o.Set != nil || o.Operation == "set" {
		take(agent.SetHeader, either(o.Set, &o.nameValue))
	}
	if o.Add != nil || o.Operation == "add" {
		take(agent.AddHeader, either(o.Add, &o.nameValue))
	}
	if o.Remove != nil || o.Operation == "remove" {
		take(agent.RemoveHeader, either(o.Remove, &o.nameValue))
	}
	return op, forms == 1
}

func either(tagged, flat *nameValue) *nameValue {
	if tagged != nil {
		return tagged
	}
	return flat
}

func (m *mutation) decode() (*[]byte, error) {
	if m.Data == nil {
		return nil, nil
	}
	data, err := base64.StdEncoding.Strict().DecodeString(*m.Data)
	if err != nil {
		return nil, fmt.Errorf("a body: %w", err)
	}
	return &data, nil
}

func (a *replyAudit) copyTo(to *agent.Audit) {
	to.Tags, to.RuleIDs, to.ReasonCodes = a.Tags, a.RuleIDs, a.ReasonCodes
	if c := a.Confidence; c != nil && *c >= 0 && *c <= 1 {
		to.Confidence = c
	}
	if len(a.Custom) == 0 || len(a.Custom) > maxAuditList {
		return
	}
	to.Custom = make(map[string]stdjson.RawMessage, len(a.Custom))
	for key, value := range a.Custom {
		to.Custom[key] = stdjson.RawMessage(value)
	}
}

func atMost(list []string) []string { return list[:min(len(list), maxAuditList)] }

// checkVerdict bounds a verdict of any dialect, and puts its numbers right. Names and values of headers stay
// as they are: the proxy refuses them one by one.
func checkVerdict(v *agent.Verdict) error {
	if tooMuch(v) {
		return errTooMuch
	}
	switch v.Decision {
	case agent.Allowed, agent.Challenged:
	case agent.Blocked:
		if v.Status < 200 || v.Status > 599 {
			v.Status = defaultBlock
		}
	case agent.Redirected:
		switch v.Status {
		case 301, 302, 303, 307, 308:
		default:
			v.Status = defaultMove
		}
		if _, err := url.Parse(v.URL); err != nil || v.URL == "" || strings.ContainsFunc(v.URL, unicode.IsControl) {
			return errBadURL
		}
	default:
		return errNoDecision
	}
	return nil
}

func tooMuch(v *agent.Verdict) bool {
	size := 0
	for _, op := range v.RequestOps {
		size += len(op.Name) + len(op.Value)
	}
	for _, op := range v.ResponseOps {
		size += len(op.Name) + len(op.Value)
	}
	for name, value := range v.Headers {
		size += len(name) + len(value)
	}
	for name, value := range v.Params {
		size += len(name) + len(value)
	}
	most := max(len(v.RequestOps), len(v.ResponseOps), len(v.Headers), len(v.Params))
	return most > maxOps || size > maxOpBytes
}

// configDecided reads a decision as the answer to configure: a block rejects it.
func configDecided(payload []byte) *Failure {
	a := verdictOf(payload, RequestHeaders, &Options{})
	switch {
	case a.failure != nil:
		return a.failure
	case a.verdict.Decision != agent.Allowed:
		return rejected(a.verdict.Body)
	}
	return nil
}
