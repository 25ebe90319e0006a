// Package agentv2 is agent.proto, the second protocol of agents over gRPC, as Go code. `make proto` writes it.
package agentv2
