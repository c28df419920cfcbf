// SPDX-License-Identifier: Apache-2.0

package hostport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
)

const (
	// maxConns is how many connections are passed on at once. Further ones
	// wait.
	maxConns = 256
	// dialTimeout is how long the pod has to take a connection.
	dialTimeout = 5 * time.Second
	// acceptPause is waited when the kernel has no resources for a connection.
	acceptPause = 100 * time.Millisecond
)

// Target returns the address of the pod that connections to a port are passed on
// to; v6 says that they came over IPv6. Without one the connection is closed. It
// is called from several goroutines at once.
type Target func(p Port, v6 bool) (netip.AddrPort, bool)

// Serve begins to pass on TCP connections and returns. Until then they wait in
// the kernel. UDP and SCTP are not passed on. It has an effect once.
func (h *Held) Serve(target Target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.cancel != nil {
		return
	}
	var ctx context.Context
	ctx, h.cancel = context.WithCancel(context.Background())
	s := &server{target: target, slots: make(chan struct{}, maxConns)}
	for _, l := range h.listeners {
		h.wg.Go(func() { s.accept(ctx, h, l) })
	}
}

type server struct {
	target Target
	slots  chan struct{}
}

// accept takes a socket's connections until it is closed.
func (s *server) accept(ctx context.Context, h *Held, l listener) {
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// The client has gone (ECONNABORTED), or it is a lack of file
			// descriptors or memory. See accept(2).
			if !sleep(ctx, acceptPause) {
				return
			}
			continue
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			reset(conn)
			return
		}
		h.wg.Go(func() {
			defer func() { <-s.slots }()
			s.pass(ctx, conn, l)
		})
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// pass connects a client with the pod.
func (s *server) pass(ctx context.Context, client *net.TCPConn, l listener) {
	pod, err := s.dial(ctx, l)
	if err != nil {
		reset(client)
		return
	}
	stop := context.AfterFunc(ctx, func() { reset(client, pod) })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyHalf(pod, client)
	}()
	copyHalf(client, pod)
	<-done
	_ = client.Close()
	_ = pod.Close()
}

func (s *server) dial(ctx context.Context, l listener) (*net.TCPConn, error) {
	addr, ok := s.target(l.port, l.v6)
	if !ok {
		return nil, errors.New("the pod has no address")
	}
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// copyHalf passes one direction on, and then its end. If one side is gone the
// other one learns it, also for the opposite direction.
func copyHalf(dst, src *net.TCPConn) {
	if _, err := io.Copy(dst, src); err != nil {
		reset(dst, src)
		return
	}
	_ = dst.CloseWrite()
}

// reset closes connections in a way that the peers see as an error.
func reset(conns ...*net.TCPConn) {
	for _, c := range conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}
