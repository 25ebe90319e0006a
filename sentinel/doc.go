// Package sentinel is a security-first reverse proxy.
package sentinel
