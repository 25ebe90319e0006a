// Package process is what the proxy's process has to do with the rest of the machine: sockets it is given by
// systemd or by the process it replaces, the descriptor file of its own id, the account it runs as, the service
// manager, running in the background, and the upgrade: a new program takes over while the old one drains.
//
// A process starts another one of its kind with a pipe, over which the child says one thing: that it is ready, or
// why it ends. The child gets the listening sockets beside it. The variable SENTINEL_INHERITED describes both.
package process
