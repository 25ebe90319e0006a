package sentinel

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPanicShare makes one request in a hundred, of clients that keep their connections, run into a bug
// (RES-05): exactly those get a 500, and no other notices.
func TestPanicShare(t *testing.T) {
	t.Parallel()
	const callers, each, share = 4, 500, 100
	p, failures, stop := faultyProxy(t, answeringOrigin(t), func(x *exchange) Reason {
		if string(x.req.Query) == "bug" {
			panic("a bug")
		}
		return builtins["health"](x)
	})
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			k := &keeper{addr: p.Addr("main").String()}
			defer k.close()
			for n := range each {
				query, want := "ok", 200
				if n%share == share/2 {
					query, want = "bug", 500
				}
				if got, err := k.get("/faulty?" + query); got != want || err != nil {
					t.Errorf("request %d (%s): %d %v, want %d", n, query, got, err, want)
					return
				}
			}
		})
	}
	all.Wait()
	stop()
	if n := strings.Count(failures.String(), "internal_error"); n != callers*each/share {
		t.Errorf("%d entries in the error log, want %d", n, callers*each/share)
	}
	if n := p.metrics.ActiveRequests.Value(); n != 0 {
		t.Errorf("%d requests are still counted", n)
	}
}

// keeper is a client that keeps its connection as long as the proxy does.
type keeper struct {
	addr string
	nc   net.Conn // nil: none
	r    *bufio.Reader
}

func (k *keeper) get(path string) (status int, err error) {
	if k.nc == nil {
		if k.nc, err = net.Dial("tcp", k.addr); err != nil {
			return 0, err
		}
		k.r = bufio.NewReader(k.nc)
		_ = k.nc.SetDeadline(time.Now().Add(30 * time.Second))
	}
	if _, err := io.WriteString(k.nc, "GET "+path+" HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(k.r, nil)
	if err != nil {
		return 0, err
	}
	if _, err = io.Copy(io.Discard, resp.Body); resp.Close {
		k.close()
	}
	return resp.StatusCode, err
}

func (k *keeper) close() {
	if k.nc != nil {
		_ = k.nc.Close()
		k.nc = nil
	}
}
