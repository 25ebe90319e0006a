package conformance

import "testing"

// TestLateSurplus lets an upstream send a second answer that nobody asked for, after the first was
// complete (RFC 9112 9.2). The next request, of another client, must not get it.
func TestLateSurplus(t *testing.T) {
	t.Parallel()
	st := newStage(t, "basic")
	first := dial(t, st.addr, whole)
	st.exchange(t, first, 0)
	st.request(t, 0).answer([]byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"))
	second := dial(t, st.addr, whole)
	second.send(get("/next"))
	st.request(t, 1).answer([]byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"))
	m, err := second.response(false)
	if err != nil {
		t.Fatal(err)
	}
	if body := string(m.body); body != "good" {
		t.Errorf("the second client got %q, want %q", body, "good")
	}
}
