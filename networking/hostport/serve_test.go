// SPDX-License-Identifier: Apache-2.0

package hostport

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pod listens as an app of a pod does, and returns its address and connections.
func pod(t *testing.T) (Target, <-chan *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	conns := make(chan *net.TCPConn, 2*maxConns)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c.(*net.TCPConn)
		}
	}()
	addr := netip.MustParseAddrPort(l.Addr().String())
	return func(Port, bool) (netip.AddrPort, bool) { return addr, true }, conns
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func send(t *testing.T, c *net.TCPConn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c *net.TCPConn, want string) {
	t.Helper()
	got, err := io.ReadAll(c)
	if string(got) != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestServeHalfClose(t *testing.T) {
	if !inNetns(t) {
		return
	}
	h := reserve(t, port(TCP, "", 8080))
	target, conns := pod(t)
	early := dial(t, "[::1]:8080") // waits
	_, _ = io.WriteString(early, "early")
	select {
	case <-conns:
		t.Fatal("passed on before Serve")
	case <-time.After(50 * time.Millisecond):
	}
	seen := make(chan bool, 3)
	h.Serve(func(p Port, v6 bool) (netip.AddrPort, bool) {
		seen <- v6
		return target(p, v6)
	})
	h.Serve(func(Port, bool) (netip.AddrPort, bool) { panic("not the first one") })
	send(t, early, " bird")
	in := <-conns
	receive(t, in, "early bird")
	send(t, in, "worm") // the client closed its direction only
	receive(t, early, "worm")
	_ = in.Close()

	for _, addr := range []string{"[::1]:8080", "127.0.0.1:8080"} {
		c := dial(t, addr)
		in := <-conns
		send(t, in, "hello") // the pod closes its direction first
		receive(t, c, "hello")
		send(t, c, "bye")
		receive(t, in, "bye")
		_ = in.Close()
	}
	if a, b, c := <-seen, <-seen, <-seen; !a || !b || c {
		t.Errorf("IPv6: %v, %v, %v", a, b, c)
	}
}

func TestServeMuch(t *testing.T) {
	if !inNetns(t) {
		return
	}
	h := reserve(t, port(TCP, "", 8080))
	target, conns := pod(t)
	h.Serve(target)
	c := dial(t, "[::1]:8080")
	in := <-conns
	much := strings.Repeat("0123456789abcdef", 1<<18)
	done := make(chan struct{})
	go func() { // echoes
		defer close(done)
		_, _ = io.Copy(in, in)
		_ = in.Close()
	}()
	go func() {
		_, _ = io.WriteString(c, much)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != much {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(much))
	}
	<-done
}

func TestServeUnreachablePod(t *testing.T) {
	if !inNetns(t) {
		return
	}
	h := reserve(t, port(TCP, "", 8080), port(TCP, "", 8081))
	h.Serve(func(p Port, _ bool) (netip.AddrPort, bool) {
		return netip.MustParseAddrPort("127.0.0.1:1"), p.HostPort == 8080
	})
	for _, addr := range []string{"[::1]:8080", "[::1]:8081"} {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err == nil { // else it was closed even before the connection is seen here
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		if !isClosed(err) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func isClosed(err error) bool {
	return errors.Is(err, unix.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE)
}

func TestServeReset(t *testing.T) {
	if !inNetns(t) {
		return
	}
	h := reserve(t, port(TCP, "", 8080))
	target, conns := pod(t)
	h.Serve(target)
	c := dial(t, "[::1]:8080")
	reset(<-conns)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the client does not see the reset of the pod: %v", err)
	}
	c = dial(t, "[::1]:8080")
	in := <-conns
	reset(c)
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the pod does not see the reset of the client: %v", err)
	}
}

func TestServeLimit(t *testing.T) {
	if !inNetns(t) {
		return
	}
	h := reserve(t, port(TCP, "", 8080))
	before := runtime.NumGoroutine()
	target, conns := pod(t)
	h.Serve(target)
	var clients, ins []*net.TCPConn
	for range maxConns {
		clients = append(clients, dial(t, "[::1]:8080"))
		ins = append(ins, <-conns)
	}
	last := dial(t, "[::1]:8080")
	select {
	case <-conns:
		t.Fatal("more connections than allowed")
	case <-time.After(100 * time.Millisecond):
	}
	_ = clients[0].Close()
	_ = ins[0].Close()
	select {
	case in := <-conns:
		send(t, in, "at last")
	case <-time.After(10 * time.Second):
		t.Fatal("the next connection is not passed on")
	}
	receive(t, last, "at last")

	h.Close()
	if _, err := clients[1].Read(make([]byte, 1)); !isClosed(err) {
		t.Errorf("open after Close: %v", err)
	}
	if _, err := ins[1].Read(make([]byte, 1)); !isClosed(err) {
		t.Errorf("open after Close: %v", err)
	}
	if err := tryBind("tcp", ":8080"); err != nil {
		t.Errorf("after Close: %v", err)
	}
	// One goroutine is the listener of the pod.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestServeAfterClose(t *testing.T) {
	if !inNetns(t) {
		return
	}
	h := reserve(t, port(TCP, "", 8080))
	h.Close()
	h.Serve(func(Port, bool) (netip.AddrPort, bool) { panic("nobody listens") })
	h.Close()
}
