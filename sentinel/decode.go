package sentinel

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
)

var (
	errUnknownCoding = errors.New("unknown content coding")
	errTooManyCoding = errors.New("more than three content codings")
	errTrailing      = errors.New("bytes behind the end of the encoded body")
	errDecodedRatio  = errors.New("the body grows by more than max-decompression-ratio")
	errDecodedSize   = errors.New("the decoded body is larger than the agent may see")
)

// maxCodings bounds the codings that are undone, one after the other: each may grow the body.
const maxCodings = 3

// slack is what a body may grow to whatever the ratio: small bodies of repetition are no bombs.
const slack = 64 << 10

// decode undoes the codings of a Content-Encoding (RFC 9110 8.4), in lower case, the last one first. What comes
// out has at most most bytes and is at most ratio times as large as what went in.
func decode(encoding string, data []byte, most int64, ratio float64) ([]byte, error) {
	codings := strings.Split(encoding, ",")
	if len(codings) > maxCodings {
		return nil, errTooManyCoding
	}
	bound := max(int64(float64(len(data))*ratio), slack)
	for i := len(codings) - 1; i >= 0; i-- {
		out, err := undo(strings.TrimSpace(codings[i]), data, min(most, bound))
		if errors.Is(err, errDecodedSize) && bound < most {
			err = errDecodedRatio
		}
		if err != nil {
			return nil, err
		}
		data = out
	}
	return data, nil
}

// isKnownCoding reports whether decoder knows a coding.
func isKnownCoding(coding string) bool {
	switch coding {
	case "gzip", "x-gzip", "deflate", "br", "identity":
		return true
	}
	return false
}

// undo undoes one coding; more than most bytes are an error.
func undo(coding string, data []byte, most int64) ([]byte, error) {
	src := bytes.NewReader(data)
	r, err := decoder(coding, src)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, most+1))
	if n > most {
		return nil, errDecodedSize
	}
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", coding, err)
	}
	if src.Len() > 0 { // another reader may see what stands there
		return nil, errTrailing
	}
	return out.Bytes(), nil
}

func decoder(coding string, src *bytes.Reader) (io.Reader, error) {
	switch coding {
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(src)
		if err != nil {
			return nil, fmt.Errorf("decoding gzip: %w", err)
		}
		return r, nil
	case "deflate": // zlib by the standard (RFC 9110 8.4.1.2), but some clients send it bare
		if r, err := zlib.NewReader(src); err == nil {
			return r, nil
		}
		_, _ = src.Seek(0, io.SeekStart) // never fails
		return flate.NewReader(src), nil
	case "br":
		return brotli.NewReader(src), nil
	case "identity", "":
		return src, nil
	}
	return nil, errUnknownCoding
}

// decodeReason is the Reason of a body that could not be decoded.
func decodeReason(err error) Reason {
	if errors.Is(err, errDecodedSize) {
		return agentBodyTooLarge
	}
	return agentEncoding
}
