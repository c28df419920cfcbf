// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/podplan"
)

func TestSocketOf(t *testing.T) {
	fdOf := func(c interface{ File() (*os.File, error) }, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return int(f.Fd())
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	l, err := net.ListenTCP("tcp4", addr)
	tcp := fdOf(l, err)
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	udp := fdOf(u, err)
	x, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	local := fdOf(x, err)
	c, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	connected := fdOf(c, err)
	file, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for _, tc := range []struct {
		name string
		fd   int
		want podplan.Socket
		ok   bool
	}{
		{"tcp", tcp, podplan.Socket{Proto: "tcp", Addr: netip.MustParseAddrPort(l.Addr().String())}, true},
		{"udp", udp, podplan.Socket{Proto: "udp", Addr: netip.MustParseAddrPort(u.LocalAddr().String())}, true},
		{"unix", local, podplan.Socket{}, false},
		{"connected", connected, podplan.Socket{}, false},
		{"file", int(file.Fd()), podplan.Socket{}, false},
		{"nothing", 1 << 20, podplan.Socket{}, false},
	} {
		if got, ok := socketOf(tc.fd); ok != tc.ok || ok && got != tc.want {
			t.Errorf("%s: %v, %v", tc.name, got, ok)
		}
	}
}

func TestTakeActivation(t *testing.T) {
	for name, vars := range map[string][2]string{
		"of nobody":  {"", "1"},
		"of another": {"1", "1"},
		"no number":  {strconv.Itoa(os.Getpid()), "x"},
		"too many":   {strconv.Itoa(os.Getpid()), "1000000"},
		"negative":   {strconv.Itoa(os.Getpid()), "-1"},
	} {
		t.Setenv(listenPID, vars[0])
		t.Setenv(listenFDs, vars[1])
		t.Setenv(listenNames, "x")
		a := takeActivation()
		if len(a.sockets) != 0 {
			t.Errorf("%s: %v", name, a.sockets)
		}
		for _, v := range []string{listenPID, listenFDs, listenNames} {
			if s, ok := os.LookupEnv(v); ok {
				t.Errorf("%s: %s=%s stays", name, v, s)
			}
		}
		cmd := exec.Command("/bin/true")
		a.pass(cmd)
		a.close()
		if cmd.Path != "/bin/true" || len(cmd.Args) != 1 || cmd.Env != nil {
			t.Errorf("%s: %v", name, cmd)
		}
	}
}

func TestPassSockets(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a := activation{sockets: make([]podplan.Socket, 2), files: []*os.File{r, w}, wanted: []bool{false, true}}
	cmd := exec.Command("/bin/prog", "-x")
	cmd.Env = []string{"A=b"}
	a.pass(cmd)
	if cmd.Path != "/proc/self/exe" || !slices.Equal(cmd.Args, []string{ListenName, "/bin/prog", "/bin/prog", "-x"}) ||
		!slices.Equal(cmd.Env, []string{"A=b", "LISTEN_FDS=1"}) || len(cmd.ExtraFiles) != 1 || cmd.ExtraFiles[0] != w {
		t.Errorf("%+v", cmd)
	}
	a.close()
	if _, err := unix.FcntlInt(r.Fd(), unix.F_GETFD, 0); err == nil {
		t.Error("a socket stays open")
	}
	if err := Listen([]string{ListenName}); err == nil {
		t.Error("called by hand")
	}
	if err := Listen([]string{ListenName, "/nonexistent", "x"}); err == nil {
		t.Error("a program that is not there")
	}
}
