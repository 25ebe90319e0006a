// Package coding is about content codings (RFC 9110 8.4): which one a client wants, and encoding bodies in
// it, one piece at a time, with encoders that are kept for the next body and bounded in number. It knows no
// sockets and no clock.
package coding
