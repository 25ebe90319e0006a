// Package wire is a strict HTTP/1.1 codec: bytes to heads and bodies, and back. It knows no socket
// and no clock, allocates nothing on the common path, and gives the same verdict however the bytes
// are split.
//
// What RFC 9112 lets a recipient reject is rejected: nothing is repaired, and every parsed part is
// a slice of the caller's buffer, valid until that buffer changes.
package wire
