// Command agents measures what an agent on the route costs: it runs Sentinel without an agent and with one in each
// dialect of the protocol, in interleaved rounds, at a fixed rate and in a closed loop, and holds it to the gates of P8.
// It ends with status 1 when something could not be measured or a gate was missed, and with status 2 for wrong flags.
package main
