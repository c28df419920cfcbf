// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// activation starts pods as a service manager does that has sockets for them.
type activation struct {
	*harness.Host
	t       *testing.T
	program string
	stage1  string
}

func newActivation(t *testing.T) *activation {
	t.Helper()
	testenv.NeedsRoot(t)
	flavors := harness.Flavors("coreos", "host")
	if len(flavors) == 0 {
		t.Skip("RKT_TEST_FLAVORS leaves these flavors out")
	}
	body, err := os.ReadFile(harness.GoProgram(t, "tests/functional/activated"))
	if err != nil {
		t.Fatal(err)
	}
	return &activation{Host: harness.NewHost(t), t: t, program: string(body), stage1: harness.Stage1Flag(t, flavors[0])}
}

// image makes an image called name with socket-activated ports.
func (a *activation) image(name string, ports ...map[string]any) string {
	a.t.Helper()
	for _, p := range ports {
		p["socketActivated"] = true
	}
	app := map[string]any{"exec": []string{"/bin/activated", "1"}, "user": "1000", "group": "1000", "ports": ports}
	return a.Fetch(harness.ACI(a.t, harness.Manifest("example.com/"+name, "1", app), []harness.Entry{
		harness.Dir("bin", 0o755), harness.File("bin/activated", 0o755, a.program),
	}))
}

func port(name, proto string, number int) map[string]any {
	return map[string]any{"name": name, "protocol": proto, "port": number}
}

// socket is one that listens: its descriptor, its address.
type socket struct {
	file *os.File
	addr net.Addr
}

func (s socket) port() int {
	_, p, _ := net.SplitHostPort(s.addr.String())
	n, _ := strconv.Atoi(p)
	return n
}

func (a *activation) tcp(addr string) socket {
	a.t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = l.Close() })
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = f.Close() })
	return socket{f, l.Addr()}
}

func (a *activation) udp(addr string) socket {
	a.t.Helper()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = c.Close() })
	f, err := c.(*net.UDPConn).File()
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = f.Close() })
	return socket{f, c.LocalAddr()}
}

// activated is a running rkt with sockets.
type activated struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err bytes.Buffer
}

// start starts rkt with the sockets. Only the process itself knows its number.
func (a *activation) start(sockets []socket, args ...string) *activated {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	a.t.Cleanup(cancel)
	cmd := a.Cmd(ctx, args...)
	cmd.Args = append([]string{"sh", "-c", `export LISTEN_PID=$$; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Env = append(cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(sockets)))
	for _, s := range sockets {
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.file)
	}
	p := &activated{t: a.t, cmd: cmd}
	cmd.Stdout, cmd.Stderr = &p.out, &p.err
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	return p
}

// ends waits for the end and tells what apps have printed.
func (p *activated) ends(status int) string {
	p.t.Helper()
	_ = p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("status %d, want %d\nstdout: %s\nstderr: %s", got, status, &p.out, &p.err)
	}
	return harness.AppOutput(p.out.String(), "")
}

const greeting = "hello from the app"

// ask connects and wants the greeting of the app.
func ask(t *testing.T, s socket) {
	t.Helper()
	c, err := net.DialTimeout(s.addr.Network(), s.addr.String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if s.addr.Network() == "udp" {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, len(greeting))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != greeting {
		t.Errorf("%s answers %q, %v", s.addr, b, err)
	}
}

// TestActivation: an app gets the sockets of its ports that rkt was started
// with, whatever network the pod has, and no others.
func TestActivation(t *testing.T) {
	a := newActivation(t)
	one, other, datagrams := a.tcp("127.0.0.1:0"), a.tcp("127.0.0.1:0"), a.udp("127.0.0.1:0")

	id := a.image("number", port("http", "tcp", one.port()))
	for _, flag := range []string{"--net=none", "--net=host", "--private-users"} {
		flags := []string{flag}
		if !strings.HasPrefix(flag, "--net") {
			flags = append(flags, "--net=none")
		}
		p := a.start([]socket{other, one}, append(append([]string{"run", a.stage1}, flags...), id)...)
		ask(t, one)
		want := fmt.Sprintf("sockets 1 mine true\nlistening %s\n", one.addr)
		if got := p.ends(0); got != want {
			t.Errorf("%s: the app prints %q, want %q", flag, got, want)
		}
		warning := fmt.Sprintf("warning: no --port option for socket-activated port \"http\", assuming port %d as specified in the manifest\n", one.port())
		if !strings.Contains(p.err.String(), warning) {
			t.Errorf("%s: no warning: %s", flag, &p.err)
		}
	}

	id = a.image("forwarded", port("http", "tcp", 80), port("dns", "udp", 53))
	uuid := strings.TrimSpace(a.OK("prepare", a.stage1, "--quiet", fmt.Sprintf("--port=http:%d", one.port()), fmt.Sprintf("--port=dns:127.0.0.1:%d", datagrams.port()), id, "--exec=/bin/activated", "--", "2"))
	uuid = uuid[strings.LastIndexByte(uuid, '\n')+1:]
	p := a.start([]socket{one, datagrams, other}, "run-prepared", "--net=none", uuid)
	ask(t, one)
	ask(t, datagrams)
	got := p.ends(0)
	for _, want := range []string{"sockets 2 mine true\n", "listening " + one.addr.String() + "\n", "receiving " + datagrams.addr.String() + "\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q: %q", want, got)
		}
	}
	if strings.Contains(p.err.String(), "warning: no --port option") {
		t.Errorf("warned: %s", &p.err)
	}
}

// TestActivationFamilies: any address of the socket is right.
func TestActivationFamilies(t *testing.T) {
	a := newActivation(t)
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", "[::1]:0"} {
		if strings.HasPrefix(addr, "[") {
			if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
				t.Skip("the host has no IPv6")
			}
		}
		s := a.tcp(addr)
		p := a.start([]socket{s}, "run", a.stage1, "--net=none", a.image("number", port("http", "tcp", s.port())))
		ask(t, s)
		if got := p.ends(0); !strings.Contains(got, "sockets 1 mine true\n") {
			t.Errorf("%s: %q", addr, got)
		}
	}
}

// TestActivationOnce: a connection to an app that has ended does not start it
// again, and that the pod's other apps go on does not depend on it.
func TestActivationOnce(t *testing.T) {
	a := newActivation(t)
	first, second := a.tcp("127.0.0.1:0"), a.tcp("127.0.0.1:0")
	p := a.start([]socket{first, second}, "run", a.stage1, "--net=none",
		a.image("first", port("http", "tcp", first.port())), "--name=first", a.image("second", port("http", "tcp", second.port())), "--name=second")
	ask(t, first)
	c, err := net.Dial("tcp", first.addr.String()) // the test has the socket, too: it waits there
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	time.Sleep(500 * time.Millisecond) // nothing to wait for: nothing may happen
	ask(t, second)
	if got := p.ends(0); strings.Count(got, "sockets 1 mine true") != 2 {
		t.Errorf("%q", got)
	}
}

// TestActivationByPod: without sockets the systemd of the pod listens on the
// app's own port; if it cannot, the pod ends.
func TestActivationByPod(t *testing.T) {
	a := newActivation(t)
	s := a.tcp("127.0.0.1:0")
	_ = s.file.Close()
	id := a.image("busy", port("http", "tcp", s.port()))
	p := a.start(nil, "run", a.stage1, "--net=host", id)
	if got := p.ends(254); got != "" {
		t.Errorf("the app was started: %q", got)
	}
}
