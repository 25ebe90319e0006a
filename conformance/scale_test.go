package conformance

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

var scale = flag.Int("scale", 1, "multiplies the rates and counts of the tests of failing upstreams and hostile clients; 1 is what CI has time for")

// TestMain lets this program be an origin, an agent or a proxy in a process of its own, which a test can kill.
func TestMain(m *testing.M) {
	fault.OriginMain()
	outpostMain()
	rogue.AgentMain()
	flag.Parse()
	if *stepped && !clockJumps() {
		fmt.Println("the wall clock does not jump")
		os.Exit(1)
	}
	os.Exit(m.Run())
}
