package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// maxParts bounds the parts of a key.
const maxParts = 4

// id names one bucket. It is a hash, so that nobody can choose two keys with one bucket, or fill memory
// with long ones, and all proxies compute the same.
type id [16]byte

// key says what of a request tells its buckets apart.
type key struct {
	parts      []part
	ipv6Prefix int // bits
}

// part returns one property of a request; an absent one is empty, and all requests without it share a bucket.
type part func(k *key, r *agent.Request) string

var parts = map[string]part{
	"client-ip": func(k *key, r *agent.Request) string { return k.client(r.ClientIP) },
	"path":      func(_ *key, r *agent.Request) string { return path(r) },
	"route":     func(_ *key, r *agent.Request) string { return r.RouteID },
}

// parseKey reads parts separated by commas.
func parseKey(text string, ipv6Prefix int) (*key, error) {
	words := strings.Split(text, ",")
	if len(words) > maxParts {
		return nil, fmt.Errorf("key has %d parts, at most %d are possible", len(words), maxParts)
	}
	k := &key{ipv6Prefix: ipv6Prefix}
	for _, word := range words {
		p, err := parsePart(strings.TrimSpace(word))
		if err != nil {
			return nil, err
		}
		k.parts = append(k.parts, p)
	}
	return k, nil
}

func parsePart(word string) (part, error) {
	if name, ok := strings.CutPrefix(word, "header:"); ok {
		if !httpguts.ValidHeaderFieldName(name) {
			return nil, fmt.Errorf("key %q: not a header name", word)
		}
		return func(_ *key, r *agent.Request) string { return r.Headers.Get(name) }, nil
	}
	if p, ok := parts[word]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("key %q: want client-ip, path, route or header:NAME", word)
}

// of returns the request's bucket for a limit. Lengths are hashed too: no two lists of values look alike.
func (k *key) of(limit string, r *agent.Request) (sum id) {
	text := appendSized(make([]byte, 0, 128), limit)
	for _, p := range k.parts {
		text = appendSized(text, p(k, r))
	}
	full := sha256.Sum256(text)
	copy(sum[:], full[:])
	return sum
}

func appendSized(text []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(text, uint32(len(s))), s...)
}

// client returns the network of an address: one IPv6 host has a whole /64 to choose from.
func (k *key) client(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, k.ipv6Prefix).Masked().String()
}

func path(r *agent.Request) string {
	p, _, _ := strings.Cut(r.URI, "?")
	return p
}
