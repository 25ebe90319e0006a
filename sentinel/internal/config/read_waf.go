package config

import "strings"

// waf reads the block `waf`. The firewall itself is an agent's work: only what says which bodies such agents
// see is built.
func (r *reader) waf(n *node, limits *Limits) *WAF {
	b := r.open(n, "waf", 0)
	w := &WAF{}
	if c, ok := b.block("body-inspection"); ok {
		w.BodyInspection = c.bodyInspection(limits)
	}
	b.unsupported("enabled", "engine", "mode", "audit-log", "ruleset")
	b.done()
	return w
}

func (b *block) bodyInspection(limits *Limits) *BodyInspection {
	i := &BodyInspection{
		Request:      b.boolean("inspect-request-body", true),
		Response:     b.boolean("inspect-response-body", true),
		MaxBytes:     b.size("max-inspection-bytes", limits.MaxBodyInspection, bytesMax, "max-body-inspection-bytes"),
		ContentTypes: b.texts("content-types", nil),
		Decompress:   b.boolean("decompress", true),
		MaxRatio:     b.ratio("max-decompression-ratio", limits.MaxDecompressionRatio, interval{hi: 1e6}),
	}
	for n, t := range i.ContentTypes {
		i.ContentTypes[n] = strings.ToLower(t)
	}
	b.done()
	return i
}

// decompresses reports whether bodies are decoded for agents of a type that do not say it themselves: a
// firewall that reads compressed bytes would find nothing in them.
func (w *WAF) decompresses(agentType string) bool {
	switch {
	case agentType != "waf":
		return false
	case w == nil || w.BodyInspection == nil:
		return true
	}
	return w.BodyInspection.Decompress
}
