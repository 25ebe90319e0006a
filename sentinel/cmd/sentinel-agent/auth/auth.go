package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// maxUser bounds what the audit data says of a user, in bytes.
const maxUser = 256

// handler is the agent.
type handler struct {
	agent.Base
	policy Policy // of the command line
	keys   *ring
	judge  atomic.Pointer[judge] // of that, and the last config block
}

// New returns the agent. It reads the key files, and begins to fetch the JWKS URL without waiting for it; an
// error says which option or file cannot be used. The agent is an io.Closer: Close ends what watches over
// the keys.
func New(o Options) (agent.Handler, error) {
	h, err := newHandler(o, nil)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// newHandler is New with a transport for the URL; nil: the network.
func newHandler(o Options, transport http.RoundTripper) (*handler, error) {
	o.Keys = o.withDefaults()
	if err := errors.Join(o.Keys.check(), o.Policy.check()); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	keys, err := newRing(o.Keys, transport)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	h := &handler{policy: o.Policy, keys: keys}
	h.judge.Store(newJudge(o.Policy))
	return h, nil
}

// Close ends the watching over keys. No request may be under way.
func (h *handler) Close() error {
	h.keys.close()
	return nil
}

// Configure takes a config block with any options but those that say where keys come from. What it does not
// have stays as the command line has it. Of several proxies, the one that connected last is obeyed.
func (h *handler) Configure(_ context.Context, config json.RawMessage) error {
	p, err := configured(h.policy, config)
	if err != nil {
		return err
	}
	h.judge.Store(newJudge(p))
	return nil
}

// RequestHeaders lets a request with a good token pass.
func (h *handler) RequestHeaders(ctx context.Context, r *agent.Request) *agent.Verdict {
	j := h.judge.Load()
	if j.isAnonymous(r.URI) {
		return j.cleanse(agent.Allow(), r).WithReason("anonymous")
	}
	claims, err := j.authenticate(ctx, h.keys, r)
	verdict := j.answer(r, claims, err)
	if user, ok := claims["sub"].(string); ok && len(user) <= maxUser {
		text, _ := json.Marshal(user) // a string always can be
		verdict.Audit.Custom = map[string]json.RawMessage{"user_id": text}
	}
	return verdict
}

// authenticate returns the claims of a request whose token is good. With an error, which is a *refusal, it
// returns them too if the signature was good.
func (j *judge) authenticate(ctx context.Context, keys *ring, r *agent.Request) (jwt.MapClaims, error) {
	token, err := j.token(r)
	if err != nil {
		return nil, err
	}
	claims, err := j.verify(ctx, keys, token)
	if err != nil {
		return nil, err
	}
	return claims, j.approve(claims)
}

// answer returns the verdict for claims, or for the error that came instead.
func (j *judge) answer(r *agent.Request, claims jwt.MapClaims, err error) *agent.Verdict {
	verdict := agent.Allow()
	if err == nil {
		j.cleanse(verdict, r)
		err = j.introduce(verdict, claims)
	}
	var refused *refusal
	if errors.As(err, &refused) {
		return j.refuse(refused)
	}
	return verdict
}

// introduce gives the request the header fields that claims are mapped to.
func (j *judge) introduce(v *agent.Verdict, claims jwt.MapClaims) error {
	for _, path := range slices.Sorted(maps.Keys(j.Claims)) {
		value, err := fieldValue(lookup(claims, path))
		if err != nil {
			return err
		}
		if value != "" {
			v.SetRequestHeader(j.Claims[path], value)
		}
	}
	return nil
}

// cleanse takes from a request what only this agent may say, under every name that an origin may read it by,
// and the token if it is not for the upstream.
func (j *judge) cleanse(v *agent.Verdict, r *agent.Request) *agent.Verdict {
	ours := map[string]bool{}
	for _, name := range slices.Sorted(maps.Values(j.Claims)) {
		ours[normal(name)] = true
		v.RemoveRequestHeader(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		if ours[normal(name)] {
			v.RemoveRequestHeader(name)
		}
	}
	switch {
	case !j.StripToken:
	case j.Header != "":
		v.RemoveRequestHeader(j.Header)
	default:
		v.RemoveRequestHeader("Authorization")
	}
	return v
}

// isAnonymous reports whether a URI needs no token. A path that an origin may read as another one does.
func (j *judge) isAnonymous(uri string) bool {
	path, _, _ := strings.Cut(uri, "?")
	if strings.ContainsAny(path, `%\;#`) || strings.Contains(path, "//") ||
		strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../") {
		return false
	}
	return slices.ContainsFunc(j.Anonymous, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return path == pattern || open && strings.HasPrefix(path, prefix)
	})
}
