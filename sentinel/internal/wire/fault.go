package wire

// Fault says why bytes were refused. The zero Fault means they were not. The set is closed: each
// Fault is one defect, and its String is the Reason word that logs, metrics and vectors use.
type Fault uint8

// The faults. A request fault has a status of its own; every response fault is a bad gateway.
const (
	None             Fault = iota
	BadRequestLine         // method, spacing or version token (RFC 9112 3)
	BadTarget              // request-target form or bytes (RFC 9112 3.2)
	BadVersion             // an HTTP version this codec does not speak (RFC 9110 15.6.6)
	BadHeader              // field line syntax, obs-fold, bare CR or LF (RFC 9112 5)
	BadHost                // missing, repeated or malformed Host or authority (RFC 9112 3.2)
	BadPath                // escape that is none, or NUL, in the path (RFC 3986 2.1)
	FramingConflict        // Content-Length and Transfer-Encoding contradict (RFC 9112 6.3)
	BadContentLength       // not 1*DIGIT, out of range, or repeated with other values (RFC 9110 8.6)
	BadCoding              // Transfer-Encoding whose last coding is not one "chunked" (RFC 9112 6.3)
	UnknownCoding          // other codings before a final "chunked" (RFC 9112 6.1: 501)
	BadChunk               // chunk size, extension, data or last chunk (RFC 9112 7.1)
	BadTrailer             // trailer field line (RFC 9112 7.1.2)
	TargetTooLong          // request line over the limit (RFC 9110 15.5.15)
	HeaderTooLarge         // field count or size over the limit (RFC 6585 5)
	BadStatusLine          // status line of a response (RFC 9112 4)
	Truncated              // the peer closed inside a message (RFC 9112 8)
	faults
)

var faultWords = [faults]string{
	None:             "none",
	BadRequestLine:   "bad_request_line",
	BadTarget:        "bad_target",
	BadVersion:       "bad_version",
	BadHeader:        "bad_header",
	BadHost:          "bad_host",
	BadPath:          "bad_path",
	FramingConflict:  "framing_conflict",
	BadContentLength: "bad_content_length",
	BadCoding:        "bad_transfer_coding",
	UnknownCoding:    "unknown_transfer_coding",
	BadChunk:         "bad_chunk",
	BadTrailer:       "bad_trailer",
	TargetTooLong:    "target_too_long",
	HeaderTooLarge:   "header_too_large",
	BadStatusLine:    "bad_status_line",
	Truncated:        "truncated",
}

// String returns the fault's word.
func (f Fault) String() string {
	if int(f) < len(faultWords) {
		return faultWords[f]
	}
	return "unknown_fault"
}

// Error makes a Fault usable as an error; None is never returned as one.
func (f Fault) Error() string { return "http/1.1: " + f.String() }
