package agents

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestPartOfAFrame has a socket take a part of a frame, while another has come: the rest goes first.
func TestPartOfAFrame(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	near, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	st := newStream(near, bufio.NewReader(near), maxV2)
	go func() {
		_, f := st.next()
		st.finish(f)
	}()
	st.mu.Lock()
	st.writing = true // the first, below
	st.mu.Unlock()
	out, f := st.openNow(1)
	if f != nil || st.commit(append(out, 'b')) != nil {
		t.Fatal(f)
	}
	first := bytes.Repeat([]byte("a"), 8<<20)
	st.writeNow(append(binary.BigEndian.AppendUint32(nil, uint32(len(first))), first...))
	if err := far.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]byte{first, []byte("b")} {
		if got, err := readFrame(far); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("a frame of %d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	st.close()
	<-st.dead()
}
