package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// The second opinion: whatever this codec accepts, net/http must accept too and read the same, because a
// back end that reads another message than we did is what smuggling is. The reverse does not hold and is
// not asked: net/http repairs much that is refused here.
//
// Where net/http is the stricter one, without a back end being able to read another message:
//   - it knows no empty line before a request;
//   - it refuses a Trailer field that names a framing field, which is dropped here;
//   - it refuses whitespace between a chunk size and its extension, which RFC 9112 7.1.1 says to read;
//   - its limit for one line of chunk size and extensions is a few bytes lower.

// agree fails unless both values are the same.
func agree[T comparable](t *testing.T, in []byte, what string, ours, theirs T) {
	t.Helper()
	if ours != theirs {
		t.Fatalf("%.200q: %s is %.200v here and %.200v in net/http", in, what, ours, theirs)
	}
}

// stricterThere reports whether a message has something that only net/http refuses.
func stricterThere(fields []Field, body []byte) bool {
	for i := range fields {
		if EqualName(fields[i].Name, "trailer") {
			return true
		}
	}
	return blankBeforeExtension(body)
}

func blankBeforeExtension(body []byte) bool {
	body = bytes.ReplaceAll(body, []byte("\t"), []byte(" "))
	return bytes.Contains(body, []byte(" ;"))
}

func askNetHTTPAboutRequest(t *testing.T, in []byte, n int) {
	ours := bytes.Clone(in)
	var r Request
	r.Reset()
	if m, _ := r.Parse(ours, &testLimits); m != n {
		t.Fatalf("%.200q: %d bytes, then %d", in, n, m)
	}
	framing, length := r.Body()
	if stricterThere(r.Fields, in[n:]) {
		return
	}
	sent := bytes.TrimPrefix(in, []byte("\r\n"))
	theirs := bufio.NewReaderSize(bytes.NewReader(sent), 128<<10)
	req, err := http.ReadRequest(theirs)
	if err != nil {
		t.Fatalf("%.200q: net/http says %v", in, err)
	}
	agree(t, in, "method", string(r.Method), req.Method)
	agree(t, in, "target", strings.ToLower(string(r.RawTarget)), strings.ToLower(req.RequestURI))
	agree(t, in, "host", string(r.Authority), strings.ToLower(req.Host))
	agree(t, in, "minor version", r.Minor, req.ProtoMinor)
	agree(t, in, "close", !r.KeepAlive(), req.Close)
	agree(t, in, "fields", len(r.Fields), countFields(req.Header)+1+len(req.TransferEncoding))
	if framing != ByChunks {
		agree(t, in, "length", length, req.ContentLength)
	}
	agree(t, in, "chunked", framing == ByChunks, len(req.TransferEncoding) == 1)
	compareBodies(t, in, readBody(t, framing, length, in[n:], whole(len(in)-n)), in[n:], req.Body, theirs)
}

func askNetHTTPAboutResponse(t *testing.T, in []byte, toHead bool, n int) {
	var r Response
	r.Reset(toHead)
	if m, _ := r.Parse(bytes.Clone(in), &testLimits); m != n {
		t.Fatalf("%.200q: %d bytes, then %d", in, n, m)
	}
	framing, length := r.Body()
	if stricterThere(r.Fields, in[n:]) {
		return
	}
	method := http.MethodGet
	if toHead {
		method = http.MethodHead
	}
	theirs := bufio.NewReaderSize(bytes.NewReader(in), 128<<10)
	resp, err := http.ReadResponse(theirs, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.200q: net/http says %v", in, err)
	}
	agree(t, in, "status", r.Status, resp.StatusCode)
	agree(t, in, "minor version", r.Minor, resp.ProtoMinor)
	compareBodies(t, in, readBody(t, framing, length, in[n:], whole(len(in)-n)), in[n:], resp.Body, theirs)
}

// compareBodies reads theirs to its end: same data, same verdict, and the same bytes left for the next
// message.
func compareBodies(t *testing.T, in []byte, ours bodyResult, after []byte, theirs io.Reader, conn *bufio.Reader) {
	data, err := io.ReadAll(theirs)
	if ours.fault != None {
		return // refused here: net/http may go on
	}
	if errors.Is(err, http.ErrLineTooLong) {
		return
	}
	agree(t, in, "body", ours.data, string(data))
	if !ours.done {
		return
	}
	if err != nil {
		t.Fatalf("%.200q: the body is done here, net/http says %v", in, err)
	}
	rest, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, in, "what follows", string(after[ours.n:]), string(rest))
}

func askNetHTTPAboutChunks(t *testing.T, in []byte, ours bodyResult) {
	if blankBeforeExtension(in) {
		return
	}
	head := "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
	theirs := bufio.NewReaderSize(strings.NewReader(head+string(in)), 128<<10)
	req, err := http.ReadRequest(theirs)
	if err != nil {
		t.Fatal(err)
	}
	compareBodies(t, in, ours, in, req.Body, theirs)
}

func countFields(h http.Header) (n int) {
	for _, values := range h {
		n += len(values)
	}
	return n
}
