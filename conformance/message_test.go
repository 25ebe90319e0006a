package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// message is a request or response as a strict peer reads it.
type message struct {
	start    string
	fields   []field
	body     []byte
	trailers []field
	headDone bool
	complete bool
}

type field struct{ name, value string }

// errMalformed is a message that no peer of ours should ever get.
var errMalformed = errors.New("malformed message")

// values returns every value of a field, in order.
func values(fields []field, name string) []string {
	var all []string
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			all = append(all, f.value)
		}
	}
	return all
}

// status returns the status code of a response; 0 when the start line is none.
func (m *message) status() int {
	_, rest, _ := strings.Cut(m.start, " ")
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		return 0
	}
	return n
}

func readLine(br *bufio.Reader) (string, error) {
	line, err := br.ReadString('\n')
	if err != nil {
		return line, err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\x00") {
		return line, fmt.Errorf("%w: line %q", errMalformed, line)
	}
	return text, nil
}

// readFields reads field lines and the empty line after them.
func readFields(br *bufio.Reader) ([]field, error) {
	var fields []field
	for {
		line, err := readLine(br)
		if err != nil || line == "" {
			return fields, err
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok || name == "" || strings.ContainsAny(name, " \t") || strings.Trim(value, " \t") != value {
			return fields, fmt.Errorf("%w: field line %q", errMalformed, line)
		}
		fields = append(fields, field{name, value})
	}
}

// framing says how a body ends.
type framing struct {
	chunked, untilClose bool
	length              int64
}

// framingOf reads the framing fields, of which a peer may get one at most.
func framingOf(fields []field) (f framing, found bool, err error) {
	lengths, codings := values(fields, "Content-Length"), values(fields, "Transfer-Encoding")
	switch {
	case len(lengths)+len(codings) > 1:
		return f, true, fmt.Errorf("%w: Content-Length %q, Transfer-Encoding %q", errMalformed, lengths, codings)
	case len(codings) == 1 && codings[0] != "chunked":
		return f, true, fmt.Errorf("%w: Transfer-Encoding %q", errMalformed, codings)
	case len(codings) == 1:
		return framing{chunked: true}, true, nil
	case len(lengths) == 1:
		f.length, err = strconv.ParseInt(lengths[0], 10, 64)
		if err != nil || f.length < 0 || strconv.FormatInt(f.length, 10) != lengths[0] {
			err = fmt.Errorf("%w: Content-Length %q", errMalformed, lengths)
		}
		return f, true, err
	}
	return f, false, nil
}

// responseFraming adds the rules for responses (RFC 9112 6.3).
func responseFraming(m *message, toHead bool) (framing, error) {
	f, found, err := framingOf(m.fields)
	s := m.status()
	switch {
	case err != nil:
		return f, err
	case s < 200 || s == 204:
		if found {
			return f, fmt.Errorf("%w: a %d with framing fields", errMalformed, s)
		}
		return framing{}, nil
	case toHead || s == 304:
		return framing{}, nil
	case !found:
		return framing{untilClose: true}, nil
	}
	return f, nil
}

// readBody hands the body's pieces to got and returns the trailer fields.
func readBody(br *bufio.Reader, f framing, got func([]byte)) ([]field, error) {
	if !f.chunked {
		n := f.length
		if f.untilClose {
			n = -1
		}
		return nil, readPieces(br, n, got)
	}
	for {
		line, err := readLine(br)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(line, 16, 31)
		if err != nil {
			return nil, fmt.Errorf("%w: chunk size %q", errMalformed, line)
		}
		if n == 0 {
			return readFields(br)
		}
		if err := readPieces(br, int64(n), got); err != nil {
			return nil, err
		}
		if end, err := readLine(br); err != nil || end != "" {
			return nil, errors.Join(err, fmt.Errorf("after a chunk: %q", end))
		}
	}
}

// readPieces reads n bytes, or to the end when n is negative.
func readPieces(br *bufio.Reader, n int64, got func([]byte)) error {
	buf := make([]byte, 32<<10)
	for n != 0 {
		piece := buf
		if n > 0 {
			piece = buf[:min(n, int64(len(buf)))]
		}
		k, err := br.Read(piece)
		got(piece[:k])
		if n > 0 {
			n -= int64(k)
		}
		if errors.Is(err, io.EOF) && n < 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readResponse reads one response. What was read is returned even when an error is.
func readResponse(br *bufio.Reader, toHead bool) (*message, error) {
	m, err := readResponseHead(br)
	if err == nil {
		err = readResponseBody(br, m, toHead)
	}
	return m, err
}

func readResponseHead(br *bufio.Reader) (*message, error) {
	m := &message{}
	var err error
	if m.start, err = readLine(br); err != nil {
		return m, err
	}
	if !strings.HasPrefix(m.start, "HTTP/1.1 ") || m.status() < 100 {
		return m, fmt.Errorf("%w: status line %q", errMalformed, m.start)
	}
	m.fields, err = readFields(br)
	m.headDone = err == nil
	return m, err
}

func readResponseBody(br *bufio.Reader, m *message, toHead bool) error {
	f, err := responseFraming(m, toHead)
	if err != nil {
		return err
	}
	m.trailers, err = readBody(br, f, func(b []byte) { m.body = append(m.body, b...) })
	m.complete = err == nil
	return err
}

// clone copies what another goroutine goes on writing.
func (m *message) clone() *message {
	c := *m
	c.body = slices.Clone(m.body)
	c.fields = slices.Clone(m.fields)
	return &c
}
