package agents

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	agentv2 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v2"
)

// valid is bytes as a string of a message, which must be UTF-8: every byte that is not becomes U+FFFD.
func valid[T []byte | string](b T) string {
	s := string(b)
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return s
}

// optional is valid, and nil for none.
func optional[T []byte | string](b T) *string {
	if len(b) == 0 {
		return nil
	}
	s := valid(b)
	return &s
}

func lower(name []byte) string { return strings.ToLower(valid(name)) }

func uri(r *Request) string {
	if !r.HasQuery {
		return valid(r.Path)
	}
	return valid(bytes.Join([][]byte{r.Path, r.Query}, []byte{'?'}))
}

func clientIP(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}

// size is a size of the wire, nil for -1.
func size(n int64) *uint64 {
	if n < 0 {
		return nil
	}
	u := uint64(n)
	return &u
}

// auditOf is what a verdict says for the audit log. Texts become JSON strings.
func auditOf(tags, rules, reasons []string, confidence *float32, custom map[string]string) agent.Audit {
	a := agent.Audit{Tags: atMost(tags), RuleIDs: atMost(rules), ReasonCodes: atMost(reasons)}
	if c := confidence; c != nil && *c >= 0 && *c <= 1 { // which NaN is not
		f := float64(*c)
		a.Confidence = &f
	}
	if len(custom) == 0 || len(custom) > maxAuditList {
		return a
	}
	a.Custom = make(map[string]json.RawMessage, len(custom))
	for k, v := range custom {
		a.Custom[k], _ = json.Marshal(v) // a string always is JSON
	}
	return a
}

// replacement is a body mutation's data: nil for none.
func replacement(data []byte, isBase64 bool) (*[]byte, error) {
	if data == nil {
		return nil, nil
	}
	if !isBase64 {
		return &data, nil
	}
	plain, err := base64.StdEncoding.AppendDecode(nil, data)
	if err != nil {
		return nil, badReply("a body that is not base64: %w", err)
	}
	return &plain, nil
}

var levelWords = map[int32]string{
	int32(agentv2.LogLevel_LOG_LEVEL_DEBUG): "debug", int32(agentv2.LogLevel_LOG_LEVEL_INFO): "info",
	int32(agentv2.LogLevel_LOG_LEVEL_WARN): "warn", int32(agentv2.LogLevel_LOG_LEVEL_ERROR): "error",
}

func levelWord(level int32) string {
	if word, known := levelWords[level]; known {
		return word
	}
	return "unknown"
}

var healthWords = map[agentv2.HealthState]string{
	agentv2.HealthState_HEALTH_STATE_DEGRADED: "degraded", agentv2.HealthState_HEALTH_STATE_DRAINING: "draining",
	agentv2.HealthState_HEALTH_STATE_UNHEALTHY: "unhealthy",
}

func healthWord(state agentv2.HealthState) string {
	if word, known := healthWords[state]; known {
		return word
	}
	return "unknown"
}
