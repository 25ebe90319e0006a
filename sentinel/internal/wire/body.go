package wire

// Body splits one message body off a byte stream. It holds no data: what it returns are slices of the
// caller's buffer, in order, without framing.
type Body struct {
	framing Framing
	done    bool
	fault   Fault // the one that ended a ByChunks body
	left    int64 // ByLength
	chunks  chunkReader
}

// Reset prepares for a body with the framing of a head; lim bounds its trailer section.
func (b *Body) Reset(f Framing, length int64, lim *Limits) {
	b.framing, b.left, b.fault = f, length, None
	b.done = f == NoBody || f == ByLength && length == 0
	b.chunks.reset(lim)
}

// Done reports whether the whole body, its trailer included, has been read. A body that ends with the
// connection is never Done: the end of the stream ends it (Ended).
func (b *Body) Done() bool { return b.done }

// Next reads from src, which continues where the last call's n ended. It returns the next piece of
// data, possibly empty, and how many bytes of src are behind it. All of src is consumed unless the
// body is Done before or a piece of data was returned. A fault stays: a body cannot be read past it.
func (b *Body) Next(src []byte) (data []byte, n int, fault Fault) {
	switch b.framing {
	case ByLength:
		n = int(min(b.left, int64(len(src))))
		b.left -= int64(n)
		b.done = b.left == 0
		return src[:n], n, None
	case ByChunks:
		if b.fault == None {
			data, n, b.fault = b.chunks.next(src)
			b.done = b.fault == None && b.chunks.state == chunksDone
		}
		return data, n, b.fault
	case UntilClose:
		return src, len(src), None
	}
	return nil, 0, None
}

// Ended tells whether the stream may end here: None, or Truncated (RFC 9112 8).
func (b *Body) Ended() Fault {
	if b.done || b.framing == UntilClose {
		return None
	}
	return Truncated
}

// Left returns how many bytes of a ByLength body are still to come, 0 for other framings.
func (b *Body) Left() int64 {
	if b.framing != ByLength {
		return 0
	}
	return b.left
}

// Skip notes that n bytes of a ByLength body passed by another way (the kernel moved them).
func (b *Body) Skip(n int64) {
	b.left -= n
	b.done = b.left == 0
}

// Trailers returns the trailer fields of a body that is Done. They are the Body's own copy, valid until
// its next Reset.
func (b *Body) Trailers() []Field { return b.chunks.trailers }
