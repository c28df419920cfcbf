// SPDX-License-Identifier: Apache-2.0

package hostport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		ports []Port
		want  string
	}{
		"none":              {},
		"other protocol":    {ports: []Port{port(TCP, "", 80), port(UDP, "", 80), port(SCTP, "", 80)}},
		"other address":     {ports: []Port{port(TCP, "127.0.0.1", 80), port(TCP, "127.0.0.2", 80), port(TCP, "::1", 80)}},
		"both wildcards":    {ports: []Port{port(TCP, "0.0.0.0", 80), port(TCP, "::", 80)}},
		"same":              {[]Port{port(TCP, "", 8080), port(TCP, "", 8080)}, "port tcp-0.0.0.0:8080 already mapped to pod port 80"},
		"same address":      {[]Port{port(UDP, "127.0.0.1", 53), port(UDP, "127.0.0.1", 53)}, "port udp-127.0.0.1:53 already mapped to pod port 80"},
		"wildcard first":    {[]Port{port(TCP, "0.0.0.0", 80), port(TCP, "127.0.0.1", 80)}, "port tcp-127.0.0.1:80 already mapped to pod port 80"},
		"wildcard last":     {[]Port{port(TCP, "::1", 80), port(TCP, "::", 80)}, "port tcp-[::]:80 already mapped to pod port 80"},
		"all and IPv6":      {[]Port{port(TCP, "", 80), port(TCP, "::1", 80)}, "port tcp-[::1]:80 already mapped to pod port 80"},
		"IPv4 in IPv6":      {[]Port{port(TCP, "127.0.0.1", 80), port(TCP, "::ffff:127.0.0.1", 80)}, "port tcp-127.0.0.1:80 already mapped to pod port 80"},
		"unknown protocol":  {[]Port{port("icmp", "", 80)}, `port "p": unknown protocol "icmp"`},
		"without host port": {[]Port{port(TCP, "", 0)}, `port "p": no host port`},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(tt.ports)
			if got := text(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestReserveHolds(t *testing.T) {
	if !inNetns(t) {
		return
	}
	h := reserve(t, port(TCP, "", 8080), port(UDP, "", 5353), port(TCP, "127.0.0.1", 8081), port(SCTP, "", 99))
	taken := [][2]string{{"tcp4", "127.0.0.1:8080"}, {"tcp4", "0.0.0.0:8080"}, {"tcp6", "[::1]:8080"}, {"tcp", ":8080"}, {"udp4", "127.0.0.1:5353"}, {"udp6", "[::1]:5353"}, {"tcp4", "127.0.0.1:8081"}}
	for _, a := range taken {
		if err := tryBind(a[0], a[1]); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%v: %v", a, err)
		}
	}
	for _, a := range [][2]string{{"tcp4", "127.0.0.2:8081"}, {"tcp6", "[::1]:8081"}} {
		if err := tryBind(a[0], a[1]); err != nil {
			t.Errorf("%v: %v", a, err)
		}
	}
	checkCloseOnExec(t, h)
	h.Close()
	h.Close()
	for _, a := range taken {
		if err := tryBind(a[0], a[1]); err != nil {
			t.Errorf("after Close: %v: %v", a, err)
		}
	}
}

func tryBind(network, addr string) error {
	if strings.HasPrefix(network, UDP) {
		c, err := net.ListenPacket(network, addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return err
	}
	return l.Close()
}

func checkCloseOnExec(t *testing.T, h *Held) {
	t.Helper()
	check := func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d is not close-on-exec: %v", fd, err)
		}
	}
	for _, f := range h.files {
		check(f.Fd())
	}
	for _, l := range h.listeners {
		c, err := l.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Control(check); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReserveTaken(t *testing.T) {
	if !inNetns(t) {
		return
	}
	const uuid = "6733c088-a507-4694-aabf-35a4f4d0f7cb"
	podDir := filepath.Join(t.TempDir(), "pods", "run", uuid)
	if err := os.MkdirAll(podDir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	comm := filepath.Base(exe)
	comm = comm[:min(len(comm), 15)]
	for name, tt := range map[string]struct {
		network, addr, dir string
		port               Port
		want               string // with the process %d
	}{
		"TCP":            {"tcp4", "0.0.0.0:8080", "/", port(TCP, "", 8080), "port tcp 0.0.0.0:8080 is already in use by COMM (process %d)"},
		"one address":    {"tcp4", "127.0.0.1:8080", "/", port(TCP, "", 8080), "port tcp 0.0.0.0:8080 is already in use by COMM (process %d)"},
		"one of one":     {"tcp4", "0.0.0.0:8080", "/", port(TCP, "127.0.0.1", 8080), "port tcp 127.0.0.1:8080 is already in use by COMM (process %d)"},
		"both kinds":     {"tcp", ":8080", "/", port(TCP, "", 8080), "port tcp 0.0.0.0:8080 is already in use by COMM (process %d)"},
		"IPv6":           {"tcp6", "[::1]:8080", "/", port(TCP, "", 8080), "port tcp [::]:8080 is already in use by COMM (process %d)"},
		"UDP":            {"udp4", "0.0.0.0:5353", "/", port(UDP, "", 5353), "port udp 0.0.0.0:5353 is already in use by COMM (process %d)"},
		"UDP IPv6":       {"udp6", "[::1]:5353", "/", port(UDP, "::1", 5353), "port udp [::1]:5353 is already in use by COMM (process %d)"},
		"pod":            {"tcp4", "0.0.0.0:8080", podDir, port(TCP, "", 8080), "port tcp 0.0.0.0:8080 is already in use by pod " + uuid},
		"other protocol": {"tcp4", "0.0.0.0:8080", "/", port(UDP, "", 8080), ""},
		"other kind":     {"tcp6", "[::1]:8080", "/", port(TCP, "0.0.0.0", 8080), ""},
	} {
		t.Run(name, func(t *testing.T) {
			pid, release := hold(t, tt.network, tt.addr, tt.dir)
			defer release()
			want := strings.ReplaceAll(tt.want, "COMM", comm)
			if strings.Contains(want, "%d") {
				want = fmt.Sprintf(want, pid)
			}
			h, err := Reserve([]Port{port(TCP, "", 7000), tt.port})
			if got := text(err); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if h != nil {
				h.Close()
			} else if !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("%v is not EADDRINUSE", err)
			}
			if err := tryBind("tcp", ":7000"); err != nil {
				t.Errorf("something is left: %v", err)
			}
		})
	}
}

func TestReserveUnknownHolder(t *testing.T) {
	if !inNetns(t) {
		return
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	// Only bound: that is in no table.
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 8080}); err != nil {
		t.Fatal(err)
	}
	_, err = Reserve([]Port{port(TCP, "", 8080)})
	if got, want := text(err), "port tcp 0.0.0.0:8080 is already in use by another process"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReserveNoSuchAddress(t *testing.T) {
	if !inNetns(t) {
		return
	}
	for proto, want := range map[string]string{
		TCP: "port tcp 10.9.9.9:80: the host has no such address: cannot assign requested address",
		UDP: "port udp 10.9.9.9:80: the host has no such address: cannot assign requested address",
	} {
		h := reserve(t, port(proto, "10.9.9.9", 80))
		if got := text(h.Complete()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestReserveLater: an address that comes after Reserve.
func TestReserveLater(t *testing.T) {
	if !inNetns(t) {
		return
	}
	h := reserve(t, port(TCP, "10.9.9.9", 80), port(UDP, "10.9.9.9", 80))
	if out, err := exec.Command("ip", "addr", "add", "10.9.9.9/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := h.Complete(); err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{TCP, UDP} {
		if _, err := Reserve([]Port{port(proto, "10.9.9.9", 80)}); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%s is not held: %v", proto, err)
		}
	}
}

func TestReserveWithoutIPv6(t *testing.T) {
	if !inNetns(t) {
		return
	}
	for _, dev := range []string{"all", "default", "lo"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+dev+"/disable_ipv6", []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Skipf("cannot switch IPv6 off: %v", err)
		}
	}
	reserve(t, port(TCP, "", 8080), port(UDP, "", 8080))
}

func TestReserveTimeWait(t *testing.T) {
	if !inNetns(t) {
		return
	}
	l, err := net.Listen("tcp4", "0.0.0.0:8080")
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp4", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	_, _ = client.Read(make([]byte, 1))
	_ = client.Close()
	_ = l.Close()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(table), "0100007F:1F90 ") {
		t.Fatalf("no connection in TIME_WAIT:\n%s", table)
	}
	reserve(t, port(TCP, "", 8080))
}

// UDP that nobody reads takes no memory.
func TestReserveUDPIsDeaf(t *testing.T) {
	if !inNetns(t) {
		return
	}
	h := reserve(t, port(UDP, "127.0.0.1", 5353))
	c, err := net.Dial("udp4", "127.0.0.1:5353")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for range 3 {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := unix.IoctlGetInt(int(h.files[0].Fd()), unix.SIOCINQ); n != 0 || err != nil {
		t.Errorf("%d bytes wait, %v", n, err)
	}
}
