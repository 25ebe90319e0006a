// Command sentinel-agent is the reference agents in one binary: one subcommand for each, all served alike.
//
// main.go holds the command line and the exit codes, serve.go the sockets and the drain. What an agent
// decides is in the package of its name: each has a Command that reads the agent's own flags, makes the
// handler and hands it to the serve function it was given.
package main
