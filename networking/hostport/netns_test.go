// SPDX-License-Identifier: Apache-2.0

package hostport

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

const (
	insideEnv = "RKT_HOSTPORT_INSIDE"
	holdEnv   = "RKT_HOSTPORT_HOLD"
)

// inNetns runs a test again, in a process with a network namespace of its own
// in which lo is up, and says whether this is it.
func inNetns(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) == t.Name() {
		loopbackUp(t)
		return true
	}
	testenv.NeedsRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), insideEnv+"="+t.Name(), "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a network namespace: %v\n%s", err, out)
	}
	return false
}

func loopbackUp(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		t.Fatal(err)
	}
}

// TestHelperHold is the other process of tests: it holds an address until its
// standard input ends.
func TestHelperHold(t *testing.T) {
	network, addr, ok := strings.Cut(os.Getenv(holdEnv), " ")
	if !ok {
		return // nobody has asked
	}
	if strings.HasPrefix(network, UDP) {
		c, err := net.ListenPacket(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	} else {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
	}
	_, _ = os.Stderr.WriteString("held\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// hold has another process hold an address, with a working directory. It
// returns the number of the process, and what ends it.
func hold(t *testing.T, network, addr, dir string) (pid int, release func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestHelperHold$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), holdEnv+"="+network+" "+addr, "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stderr).ReadString('\n'); line != "held\n" {
		t.Fatalf("helper says %q, %v", line, err)
	}
	return cmd.Process.Pid, func() { _ = stdin.Close(); _ = cmd.Wait() }
}

// reserve holds ports until the end of the test.
func reserve(t *testing.T, ports ...Port) *Held {
	t.Helper()
	h, err := Reserve(ports)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func port(proto, ip string, hostPort uint16) Port {
	p := Port{Name: "p", Proto: proto, HostPort: hostPort, PodPort: 80}
	if ip != "" {
		p.HostIP = netip.MustParseAddr(ip)
	}
	return p
}
