package sentinel

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

// packed encodes data with one coding.
func packed(t testing.TB, coding string, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "bare deflate":
		w, _ = flate.NewWriter(&out, flate.BestCompression)
	case "br":
		w = brotli.NewWriter(&out)
	default:
		return data
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDecode(t *testing.T) {
	const most, ratio = 1 << 20, 100
	text := bytes.Repeat([]byte("a body that agents look at; "), 200)
	zeros := make([]byte, most-1)
	twice := packed(t, "br", packed(t, "gzip", text))
	broken := packed(t, "gzip", text)
	broken[len(broken)-5] ^= 1 // its checksum
	for _, c := range []struct {
		name, encoding string
		data, want     []byte
		err            error
	}{
		{"gzip", "gzip", packed(t, "gzip", text), text, nil},
		{"x-gzip", "x-gzip", packed(t, "gzip", text), text, nil},
		{"deflate is zlib", "deflate", packed(t, "deflate", text), text, nil},
		{"deflate without zlib", "deflate", packed(t, "bare deflate", text), text, nil},
		{"br", "br", packed(t, "br", text), text, nil},
		{"identity", "identity", text, text, nil},
		{"two codings", "gzip, br", twice, text, nil},
		{"in the wrong order", "br, gzip", twice, nil, gzip.ErrHeader},
		{"nothing in gzip", "gzip", packed(t, "gzip", nil), nil, nil},
		{"checksum", "gzip", broken, nil, gzip.ErrChecksum},
		{"cut short", "gzip", packed(t, "gzip", text)[:40], nil, io.ErrUnexpectedEOF},
		{"not gzip", "gzip", text, nil, gzip.ErrHeader},
		{"empty", "gzip", nil, nil, io.EOF},
		{"zstd", "zstd", text, nil, errUnknownCoding},
		{"codings without end", "gzip, gzip, gzip, gzip", text, nil, errTooManyCoding},
		{"bomb in gzip", "gzip", packed(t, "gzip", zeros), nil, errDecodedRatio},
		{"bomb in br", "br", packed(t, "br", zeros), nil, errDecodedRatio},
		{"bomb in a bomb", "gzip, gzip", packed(t, "gzip", packed(t, "gzip", make([]byte, 64<<20))), nil, errDecodedRatio},
		{"small repetition is none", "gzip", packed(t, "gzip", zeros[:slack]), zeros[:slack], nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decode(c.encoding, c.data, most, ratio)
			if !errors.Is(err, c.err) || (c.err == nil) != (err == nil) || !bytes.Equal(got, c.want) {
				t.Errorf("decode gives %d bytes and %v, want %d and %v", len(got), err, len(c.want), c.err)
			}
		})
	}
}

// TestDecodeBehind checks that nothing hides behind the end of an encoded body.
func TestDecodeBehind(t *testing.T) {
	for _, coding := range []string{"gzip", "deflate", "bare deflate", "br"} {
		t.Run(coding, func(t *testing.T) {
			data := append(packed(t, coding, []byte("harmless")), "<script>not harmless</script>"...)
			if got, err := decode(strings.TrimPrefix(coding, "bare "), data, 1<<20, 100); err == nil || decodeReason(err) != agentEncoding {
				t.Errorf("decode gives %q and %v", got, err)
			}
		})
	}
}

// TestDecodeSize checks the bound on what comes out, to the byte.
func TestDecodeSize(t *testing.T) {
	data := []byte("0123456789")
	in := packed(t, "gzip", data)
	if got, err := decode("gzip", in, 10, 100); err != nil || !bytes.Equal(got, data) {
		t.Errorf("10 bytes of 10: %q, %v", got, err)
	}
	_, err := decode("gzip", in, 9, 100)
	if !errors.Is(err, errDecodedSize) || decodeReason(err) != agentBodyTooLarge {
		t.Errorf("10 bytes of 9: %v, Reason %v", err, decodeReason(err))
	}
	if r := decodeReason(errDecodedRatio); r != agentEncoding {
		t.Errorf("a bomb is %v", r)
	}
}

func FuzzDecode(f *testing.F) {
	for _, coding := range []string{"gzip", "deflate", "br"} {
		f.Add(coding, packed(f, coding, []byte("seed seed seed seed")))
	}
	f.Fuzz(func(t *testing.T, encoding string, data []byte) {
		const most = 1 << 16
		got, err := decode(encoding, data, most, 100)
		if err == nil && len(got) > most && !bytes.Equal(got, data) {
			t.Errorf("%q: %d bytes came out, more than %d", encoding, len(got), most)
		}
	})
}
