package conformance

import (
	"flag"
	"time"
)

var stepped = flag.Bool("stepped", false, "end at once unless the wall clock jumps by an hour every second, as under scripts/test-clock")

// clockJumps reports whether it does. The suite under a clock that only should jump would show nothing.
func clockJumps() bool {
	began := time.Now()
	for {
		now := time.Now()
		passed, wall := now.Sub(began), now.Round(0).Sub(began.Round(0)) // Round takes the monotonic reading away
		if (wall - passed).Abs() > 59*time.Minute {
			return true
		}
		if passed > 5*time.Second {
			return false
		}
		time.Sleep(10 * time.Millisecond) // a clock tells nobody that it jumped
	}
}
