package waf

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Bounds of a config block and of what an error says of it.
const (
	maxConfig  = 64 << 10 // bytes
	maxUnknown = 5        // keys named
)

// Configure takes the keys mode, paranoia-level and anomaly-threshold. What the block does not have stays as
// the command line has it. The rules file is the agent's own affair: a proxy must not make the agent read
// files. Of several proxies with different blocks, the one that connected last is obeyed.
func (h *handler) Configure(_ context.Context, config json.RawMessage) error {
	o, err := configured(h.options, config)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.engine.Load().options == o {
		return nil // a proxy that reconnects; compiling takes longer than it may wait
	}
	e, err := newEngine(o)
	if err != nil {
		return err
	}
	return h.engine.Swap(e).close()
}

// configured returns options with what a config block changes.
func configured(o Options, config json.RawMessage) (Options, error) {
	if len(config) > maxConfig {
		return o, fmt.Errorf("config block has %d bytes, more than %d", len(config), maxConfig)
	}
	if trimmed := bytes.TrimSpace(config); len(trimmed) == 0 || string(trimmed) == "null" {
		return o, nil
	}
	var block map[string]json.RawMessage
	if err := json.Unmarshal(config, &block); err != nil {
		return o, fmt.Errorf("config block: %w", err)
	}
	targets := map[string]any{"mode": &o.Mode, "paranoia-level": &o.Paranoia, "anomaly-threshold": &o.Threshold}
	var unknown []string
	for _, key := range slices.Sorted(maps.Keys(block)) {
		target, known := targets[key]
		if !known {
			unknown = append(unknown, fmt.Sprintf("%.40q", key))
			continue
		}
		if string(block[key]) == "null" || json.Unmarshal(block[key], target) != nil {
			return o, fmt.Errorf("config block: %s has a value of the wrong type", key)
		}
	}
	if len(unknown) > 0 {
		return o, unknownKeys(unknown, targets)
	}
	return o, o.check()
}

func unknownKeys(unknown []string, known map[string]any) error {
	more := ""
	if n := len(unknown) - maxUnknown; n > 0 {
		unknown, more = unknown[:maxUnknown], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("config block: unknown keys %v%s; known are %v", unknown, more, slices.Sorted(maps.Keys(known)))
}
