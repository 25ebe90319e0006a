package config

import (
	_ "embed"
	"slices"
)

//go:embed default.kdl
var defaultText []byte

// Default returns the text of the configuration that runs when none is named. It expects the variable
// SENTINEL_DEMO_UPSTREAM, host:port of an upstream to show. The caller owns the result.
func Default() []byte { return slices.Clone(defaultText) }
