package route

import (
	"bytes"
	"encoding/hex"
	"unique"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// condition is what a rule asks of one header or query parameter: all Conditions of that name.
type condition struct {
	name    string
	values  []string
	present bool // presence is enough, whatever the value
}

// mergeByName makes the Conditions of one name, as spelled by normal, alternatives of each other.
func mergeByName(conditions []Condition, normal func(string) string) []condition {
	var merged []condition
	index := map[string]int{}
	for _, c := range conditions {
		name := normal(c.Name)
		i, seen := index[name]
		if !seen {
			i = len(merged)
			index[name] = i
			// A name that thousands of rules share stays in the CPU's cache if it is one string.
			merged = append(merged, condition{name: unique.Make(name).Value()})
		}
		m := &merged[i]
		m.values = append(m.values, c.Values...)
		m.present = m.present || len(c.Values) == 0
	}
	return merged
}

// score is what the condition adds to a rule's specificity: its best alternative.
func (c *condition) score(value, presence int) int {
	if len(c.values) > 0 {
		return value
	}
	return presence
}

// missingField returns the first condition that no field line meets, or nil.
func missingField(conditions []condition, fields []wire.Field) *condition {
	for i := range conditions {
		if c := &conditions[i]; !c.heldByFields(fields) {
			return c
		}
	}
	return nil
}

func (c *condition) heldByFields(fields []wire.Field) bool {
	for i := range fields {
		f := &fields[i]
		if wire.EqualName(f.Name, c.name) && (c.present || isOneOf(f.Value, c.values)) {
			return true
		}
	}
	return false
}

// missingParameter returns the first condition that no parameter of the query meets, or nil.
func missingParameter(conditions []condition, query []byte) *condition {
	for i := range conditions {
		if c := &conditions[i]; !c.heldByQuery(query) {
			return c
		}
	}
	return nil
}

var (
	ampersand = []byte{'&'}
	equals    = []byte{'='}
)

func (c *condition) heldByQuery(query []byte) bool {
	var parameter []byte
	for more := len(query) > 0; more; {
		parameter, query, more = bytes.Cut(query, ampersand)
		name, value, _ := bytes.Cut(parameter, equals)
		if len(parameter) > 0 && decodesTo(name, c.name) && (c.present || c.acceptsEncoded(value)) {
			return true
		}
	}
	return false
}

func (c *condition) acceptsEncoded(value []byte) bool {
	for _, want := range c.values {
		if decodesTo(value, want) {
			return true
		}
	}
	return false
}

// decodesTo reports whether a name or value of a query string means want. It compares while decoding,
// so that nothing is allocated.
func decodesTo(raw []byte, want string) bool {
	for i := range len(want) {
		if len(raw) == 0 {
			return false
		}
		c, size := decodeFirst(raw)
		if c != want[i] {
			return false
		}
		raw = raw[size:]
	}
	return len(raw) == 0
}

// decodeFirst returns the first byte that raw stands for and how many bytes that takes. As browsers
// and most servers do (WHATWG URL, application/x-www-form-urlencoded parsing), it takes a plus sign
// for a space and leaves a percent sign that starts no escape as it is.
func decodeFirst(raw []byte) (c byte, size int) {
	switch {
	case raw[0] == '+':
		return ' ', 1
	case raw[0] == '%' && len(raw) >= 3:
		var decoded [1]byte
		if _, err := hex.Decode(decoded[:], raw[1:3]); err == nil {
			return decoded[0], 3
		}
	}
	return raw[0], 1
}
