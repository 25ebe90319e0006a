package wire

import "bytes"

// maxExtensions bounds the chunk extensions of one body. Nobody uses them; a flood of them costs CPU
// for no data (CVE-2023-39326).
const maxExtensions = 4096

// maxSizeDigits bounds the digits of a chunk size, leading zeros included.
const maxSizeDigits = 16

type chunkState uint8

const (
	chunkSize      chunkState = iota // expecting the first digit of a size
	chunkDigits                      // after at least one digit
	chunkBlank                       // whitespace after a size: only an extension may follow (BWS)
	chunkExtension                   // inside extensions
	chunkSizeLF                      // after the CR of a size line
	chunkData                        // inside data
	chunkDataCR                      // the CR after data
	chunkDataLF                      // the LF after data
	chunkTrailer                     // in the trailer section
	chunksDone
)

// chunkReader decodes the chunked coding (RFC 9112 7.1), strictly: every line ends in CRLF, sizes are hex
// digits and nothing else, data is exactly as long as its size says.
type chunkReader struct {
	lim        *Limits
	state      chunkState
	digits     int
	left       int64
	extensions int
	section    []byte // raw trailer section
	trailers   []Field
}

func (c *chunkReader) reset(lim *Limits) {
	*c = chunkReader{lim: lim, section: c.section[:0], trailers: c.trailers[:0]}
}

func (c *chunkReader) next(src []byte) (data []byte, n int, fault Fault) {
	for n < len(src) && c.state != chunksDone {
		switch c.state {
		case chunkData:
			take := int(min(c.left, int64(len(src)-n)))
			data = src[n : n+take]
			if c.left -= int64(take); c.left == 0 {
				c.state = chunkDataCR
			}
			return data, n + take, None
		case chunkTrailer:
			used, fault := c.trailer(src[n:])
			if fault != None {
				return nil, n, fault
			}
			n += used
		default:
			if !c.step(src[n]) {
				return nil, n, BadChunk
			}
			n++
		}
	}
	return nil, n, None
}

// step takes one byte of the syntax around data; false means that it may not stand there.
func (c *chunkReader) step(b byte) bool {
	switch c.state {
	case chunkSize:
		c.digits, c.left = 0, 0
		return c.digit(b)
	case chunkDigits, chunkBlank:
		return c.afterSize(b)
	case chunkExtension:
		if b == '\r' {
			c.state = chunkSizeLF
			return true
		}
		c.extensions++
		return class[b]&isValue != 0 && c.extensions <= maxExtensions
	case chunkSizeLF:
		c.state = chunkData
		if c.left == 0 {
			c.state = chunkTrailer
		}
		return b == '\n'
	case chunkDataCR:
		c.state = chunkDataLF
		return b == '\r'
	default: // chunkDataLF
		c.state = chunkSize
		return b == '\n'
	}
}

func (c *chunkReader) digit(b byte) bool {
	if class[b]&isHex == 0 || c.digits == maxSizeDigits || c.left > 1<<58 {
		return false
	}
	c.state = chunkDigits
	c.digits++
	c.left = c.left<<4 | int64(hexValue(b))
	return true
}

func (c *chunkReader) afterSize(b byte) bool {
	switch {
	case b == ';':
		c.state = chunkExtension
	case b == ' ' || b == '\t':
		c.state = chunkBlank
		c.extensions++
		return c.extensions <= maxExtensions
	case c.state == chunkBlank:
		return false
	case b == '\r':
		c.state = chunkSizeLF
	default:
		return c.digit(b)
	}
	return true
}

// trailer collects the trailer section up to its empty line and parses it then. Sections are rare and
// short, so they are copied: a piece of one may end anywhere in src.
func (c *chunkReader) trailer(src []byte) (n int, fault Fault) {
	for n < len(src) {
		end := bytes.IndexByte(src[n:], '\n') + 1
		if end == 0 {
			end = len(src) - n
		}
		if len(c.section)+end > c.lim.section() {
			return n, HeaderTooLarge
		}
		c.section = append(c.section, src[n:n+end]...)
		n += end
		if c.section[len(c.section)-1] != '\n' {
			continue
		}
		start := bytes.LastIndexByte(c.section[:len(c.section)-1], '\n') + 1
		if len(c.section) < start+2 || c.section[len(c.section)-2] != '\r' {
			return n, BadTrailer
		}
		if len(c.section) == start+2 {
			c.state = chunksDone
			return n, c.parseTrailers()
		}
	}
	return n, None
}

func (c *chunkReader) parseTrailers() Fault {
	h := head{Fields: c.trailers[:0]}
	_, fault := h.fields(c.section, c.lim, func(*Field) Fault { return None })
	c.trailers = h.Fields
	if fault == BadHeader {
		return BadTrailer
	}
	return fault
}

// AppendChunk appends data as one chunk; an empty one would end the body and is left out.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = AppendChunkSize(dst, len(data))
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// AppendChunkSize appends the line that announces n bytes of data.
func AppendChunkSize(dst []byte, n int) []byte {
	const hex = "0123456789abcdef"
	shift := 0
	for n>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, hex[n>>shift&15])
	}
	return append(dst, "\r\n"...)
}

// AppendLastChunk appends the end of a chunked body with the trailer fields that may travel.
func AppendLastChunk(dst []byte, trailers []Field) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range trailers {
		if MayTrail(&trailers[i]) {
			dst = AppendField(dst, trailers[i].Name, trailers[i].Value)
		}
	}
	return append(dst, "\r\n"...)
}

// MayTrail reports whether a trailer field may be forwarded as one. Fields about framing, routing,
// identity, authentication and content must not be (RFC 9110 6.5.1); the codec knows those by ID or name.
func MayTrail(f *Field) bool {
	if f.ID != Other {
		return false
	}
	for _, name := range [...]string{
		"authorization", "cookie", "set-cookie", "cache-control", "age", "vary", "range", "content-range",
		"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "www-authenticate",
		"expires", "pragma", "retry-after", "warning",
	} {
		if EqualName(f.Name, name) {
			return false
		}
	}
	return true
}
