// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// Bounds of connections at a time.
const (
	maxConns         = 1024
	maxConnsEach     = 32  // of an address
	maxConnsLoopback = 256 // all pods of the host's network have this address
)

// limiter counts connections. It is safe for concurrent use.
type limiter struct {
	mu    sync.Mutex
	total int
	each  map[netip.Addr]int
}

func newLimiter() *limiter { return &limiter{each: map[netip.Addr]int{}} }

func (l *limiter) take(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := maxConnsEach
	if a.IsLoopback() {
		most = maxConnsLoopback
	}
	if l.total >= maxConns || l.each[a] >= most {
		return false
	}
	l.total++
	l.each[a]++
	return true
}

func (l *limiter) give(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.each[a]--; l.each[a] == 0 {
		delete(l.each, a)
	}
}

// guard is a listener that closes connections that are not allowed or too many,
// before anything of them is read.
type guard struct {
	net.Listener
	limit *limiter
	allow func(local, remote netip.Addr) bool // nil: everybody
}

func (g *guard) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		local, remote := addrOf(c.LocalAddr().String()), addrOf(c.RemoteAddr().String())
		if g.allow != nil && !g.allow(local, remote) || !g.limit.take(remote) {
			_ = c.Close()
			continue
		}
		return &counted{Conn: c, done: func() { g.limit.give(remote) }}, nil
	}
}

// counted is a connection that gives its place back.
type counted struct {
	net.Conn
	once sync.Once
	done func()
}

func (c *counted) Close() error {
	c.once.Do(c.done)
	return c.Conn.Close()
}

// rootOnly is a listener on a unix socket that serves processes of one user
// only, whatever the mode of the socket is, and not endlessly many.
type rootOnly struct {
	net.Listener
	uid   uint32
	limit *limiter
}

func (r *rootOnly) Accept() (net.Conn, error) {
	for {
		c, err := r.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !r.isFrom(c) || !r.limit.take(netip.IPv4Unspecified()) {
			_ = c.Close()
			continue
		}
		return &counted{Conn: c, done: func() { r.limit.give(netip.IPv4Unspecified()) }}, nil
	}
}

// isFrom asks the kernel who connected (unix(7), SO_PEERCRED). Root of a user
// namespace has another number here.
func (r *rootOnly) isFrom(c net.Conn) bool {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	ctl := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return ctl == nil && err == nil && cred.Uid == r.uid
}
