package attack

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// maxHead bounds the answer's head in bytes.
const maxHead = 64 << 10

// response follows one answer through the bytes of its connection. It only has to know where the answer ends.
type response struct {
	head     []byte // as far as it has arrived, until it is complete
	headDone bool
	missing  int // bytes of the body
}

// feed takes the next bytes; done reports that the answer is complete.
func (r *response) feed(b []byte) (done bool, err error) {
	if !r.headDone {
		if b, err = r.feedHead(b); err != nil || !r.headDone {
			return false, err
		}
	}
	if len(b) > r.missing {
		return false, fmt.Errorf("%d bytes after the end of the answer", len(b)-r.missing)
	}
	r.missing -= len(b)
	return r.missing == 0, nil
}

// feedHead returns the bytes that follow the head.
func (r *response) feedHead(b []byte) (body []byte, err error) {
	r.head = append(r.head, b...)
	end := bytes.Index(r.head, []byte("\r\n\r\n"))
	if end < 0 && len(r.head) > maxHead {
		return nil, fmt.Errorf("the answer's head is longer than %d bytes", maxHead)
	}
	if end < 0 {
		return nil, nil
	}
	if r.missing, err = bodyLength(r.head[:end+2]); err != nil {
		return nil, err
	}
	r.headDone = true
	return r.head[end+4:], nil
}

// bodyLength reads a head whose every line ends in CRLF.
func bodyLength(head []byte) (int, error) {
	status, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("the answer is %q", status)
	}
	for line := range bytes.Lines(fields) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte("Content-Length")) {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
		if err != nil {
			return 0, fmt.Errorf("the answer's length: %w", err)
		}
		return int(n), nil
	}
	return 0, errors.New("the answer has no Content-Length")
}
