// Package soak runs the real binary for a long time and looks for what only time shows. Requests come at a
// fixed rate while the configuration is reloaded, every other time by a broken file, and while targets and an
// agent are made to fail (fixtures/fault, fixtures/rogue).
//
//	make soak                             # an hour
//	make soak ARGS='-soak 8h -rate 1000'  # longer, and more
//
// Every request that gets no complete 2xx has to be explained: it was under way while its own target had a
// fault that may cause just that. Afterwards goroutines and descriptors have to be those after the warm-up,
// and memory may not have grown. `go test` alone takes seconds and has faults and reloads closer together.
package soak
