// Command peers measures Sentinel beside nginx, HAProxy and Caddy, prints how it stands against its performance gates,
// and writes peers.json and peers.html. It ends with status 1 when something could not be measured or, with -gate,
// when a gate was missed, and with status 2 for wrong flags.
package main
