package main

import "strings"

// The packages with the tests.
const (
	codec       = "./sentinel/internal/wire"
	routing     = "./sentinel/internal/route"
	pools       = "./sentinel/internal/upstream"
	bounds      = "./sentinel/internal/limit"
	engine      = "./sentinel"
	conformance = "./conformance"
)

// inCodec, inPools, inLimits and inEngine are tests of their packages by name: "TestHost|TestTarget".
func inCodec(which string) []tests  { return []tests{{codec, "^(" + which + ")$"}} }
func inPools(which string) []tests  { return []tests{{pools, "^(" + which + ")$"}} }
func inLimits(which string) []tests { return []tests{{bounds, "^(" + which + ")$"}} }
func inEngine(which string) []tests { return []tests{{engine, "^(" + which + ")$"}} }

// scenario is one test of the conformance suite by name.
func scenario(name string) []tests { return []tests{{conformance, "^" + name + "$"}} }

// inRouting is all tests of its package: they take no time.
var inRouting = []tests{{routing, "."}}

// vectors is one vector of fixtures/vectors, "hop/via", or all of an area, "hop".
func vectors(which string) []tests {
	return []tests{{conformance, "^TestVectors$/^" + strings.ReplaceAll(which, "/", "$/^") + "$"}}
}
