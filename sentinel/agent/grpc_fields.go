package agent

import (
	"encoding/json"
	"math"
	"strings"
	"time"
)

// What messages of both versions are made of. Their strings must be UTF-8: with any other the library
// would fail the whole stream.

func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func cleanAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = clean(s)
	}
	return out
}

func cleanMap(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[clean(k)] = clean(v)
	}
	return out
}

// texts turns JSON values into texts: strings into themselves, others into their JSON.
func texts(m map[string]json.RawMessage) map[string]string {
	out := make(map[string]string, len(m))
	for k, raw := range m {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			s = string(raw)
		}
		out[clean(k)] = clean(s)
	}
	return out
}

func confidence(c *float64) *float32 {
	if c == nil {
		return nil
	}
	f := float32(*c)
	return &f
}

func statusOr(status, otherwise int) uint32 {
	if status <= 0 || status > 999 {
		status = otherwise
	}
	return uint32(status)
}

// present makes an empty slice differ from none, which messages distinguish.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// signed bounds a number of the wire to what an int64 holds.
func signed(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// sizeOf is a size of the wire, -1 for none.
func sizeOf(n *uint64) int64 {
	if n == nil {
		return -1
	}
	return signed(*n)
}

func milliseconds(n uint64) time.Duration {
	return time.Duration(min(n, uint64(math.MaxInt64/time.Millisecond))) * time.Millisecond
}

func (h Headers) add(name, value string) {
	name = strings.ToLower(name)
	h[name] = append(h[name], value)
}
