package conformance

import (
	"encoding/binary"
	"net"
	"runtime"
	"syscall"
	"time"
)

// awaitRead waits until the proxy has taken what was sent from its receive queue, so that the next piece
// arrives in a read of its own. It gives up when the proxy's end is closed, or when the proxy has reason
// not to read for now: then the cut is one the proxy cannot notice.
func awaitRead(nc *net.TCPConn) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkDiag)
	if err != nil {
		return
	}
	defer func() { _ = syscall.Close(fd) }()
	query := diagQuery(nc.RemoteAddr().(*net.TCPAddr), nc.LocalAddr().(*net.TCPAddr))
	for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
		queued, ok := receiveQueue(fd, query)
		if !ok || queued == 0 {
			return
		}
		runtime.Gosched()
	}
}

// The parts of linux/inet_diag.h that are needed.
const (
	netlinkDiag      = 4
	sockDiagByFamily = 20
	queryLen         = 72 // nlmsghdr and inet_diag_req_v2
	queueAt          = 16 + 4 + 48 + 4
)

// diagQuery asks for the socket whose own address is local and whose peer is remote.
func diagQuery(local, remote *net.TCPAddr) []byte {
	q := make([]byte, queryLen)
	le := binary.LittleEndian
	le.PutUint32(q[0:], queryLen)
	le.PutUint16(q[4:], sockDiagByFamily)
	le.PutUint16(q[6:], syscall.NLM_F_REQUEST)
	q[16], q[17] = syscall.AF_INET, syscall.IPPROTO_TCP
	le.PutUint32(q[20:], 0xffffffff) // every state
	binary.BigEndian.PutUint16(q[24:], uint16(local.Port))
	binary.BigEndian.PutUint16(q[26:], uint16(remote.Port))
	copy(q[28:], local.IP.To4())
	copy(q[44:], remote.IP.To4())
	le.PutUint64(q[64:], ^uint64(0)) // any cookie
	return q
}

// receiveQueue returns how many bytes the socket's owner has not read; not ok: there is no such socket.
func receiveQueue(fd int, query []byte) (n uint32, ok bool) {
	if err := syscall.Sendto(fd, query, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return 0, false
	}
	buf := make([]byte, 4096)
	k, _, err := syscall.Recvfrom(fd, buf, 0)
	if err != nil || k < queueAt+4 || binary.LittleEndian.Uint16(buf[4:]) != sockDiagByFamily {
		return 0, false
	}
	return binary.LittleEndian.Uint32(buf[queueAt:]), true
}
