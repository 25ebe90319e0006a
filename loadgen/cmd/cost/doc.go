// Command cost measures what health checks, breakers, retries and least_connections cost Sentinel: it runs one binary
// with and without them in interleaved pairs, under P1's load, and prints every pair, the median ratio and an interval.
// It ends with status 1 when something could not be measured or a median ratio is above the limit, and with status 2
// for wrong flags.
package main
