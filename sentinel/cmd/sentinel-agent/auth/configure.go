package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// maxConfig bounds a config block, in bytes.
const maxConfig = 64 << 10

// configured returns a policy with what a config block changes. Its keys are the names of the flags; what it
// does not have stays.
func configured(p Policy, config json.RawMessage) (Policy, error) {
	if len(config) > maxConfig {
		return p, fmt.Errorf("config block has %d bytes, more than %d", len(config), maxConfig)
	}
	if trimmed := bytes.TrimSpace(config); len(trimmed) == 0 || string(trimmed) == "null" {
		return p, nil
	}
	var block map[string]json.RawMessage
	if err := json.Unmarshal(config, &block); err != nil {
		return p, fmt.Errorf("config block: %w", err)
	}
	p.Claims = maps.Clone(p.Claims) // decoding adds to a map
	targets := map[string]any{
		"algorithms": (*list)(&p.Algorithms), "issuer": &p.Issuer, "audience": (*list)(&p.Audience), "scopes": (*list)(&p.Scopes),
		"required-claims": (*list)(&p.RequiredClaims), "leeway": (*duration)(&p.Leeway), "optional-exp": &p.OptionalExp,
		"header": &p.Header, "cookie": &p.Cookie, "strip-token": &p.StripToken, "claims": &p.Claims,
		"anonymous": (*list)(&p.Anonymous), "realm": &p.Realm,
	}
	for _, key := range slices.Sorted(maps.Keys(block)) {
		target, known := targets[key]
		if !known {
			return p, fmt.Errorf("config block: unknown key %.40q; known are %v", key, slices.Sorted(maps.Keys(targets)))
		}
		if string(block[key]) == "null" {
			return p, fmt.Errorf("config block: %s is null", key)
		}
		if err := json.Unmarshal(block[key], target); err != nil {
			return p, fmt.Errorf("config block: %s: %w", key, err)
		}
	}
	if err := p.check(); err != nil {
		return p, fmt.Errorf("config block: %w", err)
	}
	return p, nil
}

// list is a list of strings. A list of one may be written without brackets: the proxy's configuration
// language does not tell the two apart.
type list []string

// UnmarshalJSON reads an array of strings, or a string.
func (l *list) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*l = list{one}
		return nil
	}
	var many []string
	if json.Unmarshal(text, &many) != nil {
		return errors.New("want a string or an array of strings")
	}
	*l = many
	return nil
}

// duration is a time.Duration as the flags have it.
type duration time.Duration

// UnmarshalJSON reads a string like "30s".
func (d *duration) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) != nil {
		return errors.New(`want a string like "30s"`)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return errors.New(`want a duration like "30s"`)
	}
	*d = duration(v)
	return nil
}
