package agent_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// closed refuses every request.
type closed struct{ agent.Base }

func (closed) RequestHeaders(_ context.Context, r *agent.Request) *agent.Verdict {
	return agent.Block(403, "no "+r.Method+" today").WithRule("CLOSED")
}

// A handler embeds Base, overrides the events that it cares about, and is served on a Unix socket. The proxy's
// part is played here by hand, in the first dialect.
func Example() {
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := agent.ListenUnix(filepath.Join(dir, "agent.sock"))
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- (&agent.Server{Handler: closed{}, Name: "closed"}).Serve(ctx, l) }()

	proxy, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		panic(err)
	}
	event := `{"version":1,"event_type":"request_headers","payload":{"method":"GET","uri":"/","headers":{},` +
		`"metadata":{"correlation_id":"1"}}}`
	_, _ = proxy.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(event))), event...))
	length := make([]byte, 4)
	_, _ = io.ReadFull(proxy, length)
	reply := make([]byte, binary.BigEndian.Uint32(length))
	_, _ = io.ReadFull(proxy, reply)
	fmt.Println(string(reply))

	stop()
	fmt.Println(<-served)
	// Output:
	// {"version":2,"decision":{"block":{"status":403,"body":"no GET today"}},"request_headers":[],"response_headers":[],"routing_metadata":{},"audit":{"rule_ids":["CLOSED"]},"needs_more":false}
	// <nil>
}
