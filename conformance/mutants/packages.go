package main

import "strings"

// The packages with the tests.
const (
	codec       = "./sentinel/internal/wire"
	routing     = "./sentinel/internal/route"
	pools       = "./sentinel/internal/upstream"
	bounds      = "./sentinel/internal/limit"
	engine      = "./sentinel"
	process     = "./sentinel/internal/process"
	command     = "./sentinel/cmd/sentinel"
	conformance = "./conformance"
)

// inCodec, inPools, inLimits and inEngine are tests of their packages by name: "TestHost|TestTarget".
func inCodec(which string) []tests  { return []tests{{codec, "^(" + which + ")$"}} }
func inPools(which string) []tests  { return []tests{{pools, "^(" + which + ")$"}} }
func inLimits(which string) []tests { return []tests{{bounds, "^(" + which + ")$"}} }
func inEngine(which string) []tests { return []tests{{engine, "^(" + which + ")$"}} }

// inProcess, inCommand and scenarios are the same for the process, the command and the black-box suite.
func inProcess(which string) []tests { return []tests{{process, "^(" + which + ")$"}} }
func inCommand(which string) []tests { return []tests{{command, "^(" + which + ")$"}} }
func scenarios(which string) []tests { return []tests{{conformance, "^(" + which + ")$"}} }

// inRouting is all tests of its package: they take no time.
var inRouting = []tests{{routing, "."}}

// vectors is one vector of fixtures/vectors, "hop/via", or all of an area, "hop".
func vectors(which string) []tests {
	return []tests{{conformance, "^TestVectors$/^" + strings.ReplaceAll(which, "/", "$/^") + "$"}}
}
