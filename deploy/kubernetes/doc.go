// Package kubernetes is a module of its own for the test of the manifests beside it: Kubernetes' types and what they
// need are no business of the proxy's module. What the manifests' configuration means is tested there.
package kubernetes
