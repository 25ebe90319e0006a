// Package proxyproto reads the header of the PROXY protocol, versions 1 and 2, with which a load balancer
// says whose connection it passes on. It is pure: bytes in, verdict out; no socket, no clock, no
// allocation.
//
// The rules are those of "The PROXY protocol, versions 1 & 2", section 2, and where it leaves a choice the
// stricter one: a header is well-formed to its last byte or it is none. Parse says how many bytes may
// be read without reading past the header, so that its reader never has to give bytes back.
package proxyproto
