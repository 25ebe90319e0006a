package ratelimit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// settings is the `config` block that a proxy may have for the agent: one limit for everything, or named ones.
type settings struct {
	limitSettings
	Limits map[string]limitSettings `json:"limits"`
}

type limitSettings struct {
	Path  string  `json:"path"`
	Key   string  `json:"key"`
	Rate  float64 `json:"rps"`
	Burst int     `json:"burst"`
}

// parseSettings reads a block. It returns nil for an empty one, which leaves everything as it is.
func parseSettings(config []byte) ([]Limit, error) {
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	var s settings
	if err := d.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading the configuration: there is more after its end")
	}
	return s.list(), nil
}

func (s settings) list() (limits []Limit) {
	if s.limitSettings != (limitSettings{}) {
		limits = append(limits, s.limit("default"))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Limits)) {
		limits = append(limits, s.Limits[name].limit(name))
	}
	return limits
}

func (s limitSettings) limit(name string) Limit {
	return Limit{Name: name, Path: s.Path, Key: s.Key, Rate: s.Rate, Burst: s.Burst}
}
