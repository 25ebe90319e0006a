package waf

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// Bounds of the audit data: a rules file could make either long.
const (
	maxRuleIDs = 64
	maxTags    = 32
)

// initialization is the file of CRS that only prepares the evaluation; its rules say nothing of a request.
const initialization = 901

// overLimit is the verdict on a body with too many bytes.
func (in *inspection) overLimit() *agent.Verdict {
	v := agent.Allow()
	if in.engine.options.Mode == Prevention {
		v = agent.Block(http.StatusRequestEntityTooLarge, "")
	}
	return v.WithTag("waf").WithReason("body_over_limit")
}

// verdict is what the rules evaluated so far come to. In detection mode no rule interrupts.
func (in *inspection) verdict() *agent.Verdict {
	v := agent.Allow()
	if stop := in.tx.Interruption(); stop != nil {
		v = agent.Block(status(stop.Status), "")
		v.WithRule(strconv.Itoa(stop.RuleID))
	}
	in.audit(v)
	return v
}

// status is that of a rule, if it refuses.
func status(s int) int {
	if s < 400 || s > 599 {
		return http.StatusForbidden
	}
	return s
}

// audit says which rules matched. Those without a message are CRS's own flow of control.
func (in *inspection) audit(v *agent.Verdict) {
	var classes []string
	for _, m := range in.tx.MatchedRules() {
		rule := m.Rule()
		if m.Message() == "" || rule.ID()/1000 == initialization {
			continue
		}
		if id := strconv.Itoa(rule.ID()); !slices.Contains(v.Audit.RuleIDs, id) && len(v.Audit.RuleIDs) < maxRuleIDs {
			v.WithRule(id)
		}
		for _, tag := range rule.Tags() {
			if strings.HasPrefix(tag, "attack-") && !slices.Contains(classes, tag) && len(classes) < maxTags {
				classes = append(classes, tag)
			}
		}
	}
	if len(v.Audit.RuleIDs) == 0 {
		return
	}
	slices.Sort(classes)
	v.WithTag("waf").WithTag(classes...)
	v.Audit.Custom = map[string]json.RawMessage{"anomaly_score": json.RawMessage(strconv.Itoa(in.score()))}
}

// score is the request's anomaly score, as the blocking paranoia level counts it.
func (in *inspection) score() int {
	state := in.tx.(plugintypes.TransactionState) // as all transactions of Coraza are
	values := state.Variables().TX().Get("blocking_inbound_anomaly_score")
	if len(values) == 0 {
		return 0 // a rules file refused the request before CRS began
	}
	n, _ := strconv.Atoi(values[0]) // written by CRS as a number
	return n
}
