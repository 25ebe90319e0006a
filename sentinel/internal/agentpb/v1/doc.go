// Package agentv1 is agent.proto, the first protocol of agents over gRPC, as Go code. `make proto` writes it.
package agentv1
