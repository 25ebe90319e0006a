package wire

import "bytes"

// Response is one parsed response head. Its slices are valid until the buffer it was parsed from changes.
type Response struct {
	head
	Status int
	Reason []byte // as sent; may be empty
	Minor  int
	toHead bool
}

// Reset forgets everything but the memory it holds. toHead says that the request was a HEAD.
func (r *Response) Reset(toHead bool) {
	fields := r.Fields
	*r = Response{toHead: toHead}
	r.Fields = fields[:0]
}

// Parse reads a response head from the start of buf, as Request.Parse does. An interim response
// (1xx) is a head of its own: Reset and parse on for the final one.
func (r *Response) Parse(buf []byte, lim *Limits) (n int, fault Fault) {
	if !r.started {
		if ok, fault := r.statusLine(buf, lim); !ok {
			return 0, fault
		}
	}
	done, fault := r.fields(buf, lim, r.see)
	if !done {
		return 0, fault
	}
	if fault := r.settle(r.Minor); fault != None {
		return 0, fault
	}
	r.settleResponse()
	if r.nominates {
		r.dropNominated()
	}
	return r.line, None
}

const versionPrefix = "HTTP/1."

// statusLine reads `HTTP-version SP 3DIGIT [ SP reason ]` (RFC 9112 4; the second space is often left
// out and nothing hangs on it).
func (r *Response) statusLine(buf []byte, lim *Limits) (ok bool, fault Fault) {
	n := min(len(buf), len(versionPrefix))
	if string(buf[:n]) != versionPrefix[:n] { // a banner of another protocol may never end its line
		return false, BadStatusLine
	}
	line, ok, fault := r.next(buf, lim.Line, HeaderTooLarge)
	if !ok {
		if fault == BadHeader {
			fault = BadStatusLine
		}
		return false, fault
	}
	if len(line) < 12 || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return false, BadStatusLine
	}
	if r.Minor, fault = parseVersion(line[:8]); fault != None {
		return false, BadStatusLine
	}
	status, ok := parseLength(line[9:12])
	if !ok || status < 100 || status > 599 {
		return false, BadStatusLine
	}
	r.Reason = bytes.TrimPrefix(line[12:], []byte(" "))
	if !isText(r.Reason) {
		return false, BadStatusLine
	}
	r.Status, r.started, r.section = int(status), true, r.line
	return true, None
}

func (r *Response) see(f *Field) Fault {
	switch f.ID {
	case ContentLength:
		return r.contentLength(f.Value)
	case TransferEncoding:
		return r.transferEncoding(f.Value)
	case Connection:
		return r.connection(f.Value)
	}
	return None
}

// settleResponse applies RFC 9112 6.3 (1), (8): some responses have no body whatever their fields say,
// others end with the connection.
func (r *Response) settleResponse() {
	switch {
	case r.toHead || r.Status < 200 || r.Status == 204 || r.Status == 304:
		r.framing = NoBody
	case !r.sawCodings && !r.sawLength:
		r.framing = UntilClose
	}
}

// DeclaredLength returns the Content-Length a body-less response may carry (HEAD, 304), or -1.
func (r *Response) DeclaredLength() int64 {
	if !r.sawLength || r.Status < 200 || r.Status == 204 {
		return -1
	}
	return r.length
}

// KeepAlive reports whether the upstream's connection outlives this response (RFC 9112 9.3).
func (r *Response) KeepAlive() bool {
	return r.framing != UntilClose && !r.sawClose && (r.Minor == 1 || r.sawKeepAlive)
}
