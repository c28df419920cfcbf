// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// netLab runs pods whose apps are netprobe on the first host of a lab.
type netLab struct {
	*harness.Lab
	*pods
	probe string // netprobe
	id    string // makes names of networks unique on the machine
	names []string
}

var netProbe struct {
	sync.Once
	body []byte
}

func newNetLab(t *testing.T) *netLab {
	t.Helper()
	flavors := harness.Flavors("coreos", "host")
	if len(flavors) == 0 {
		t.Skip("RKT_TEST_FLAVORS leaves these flavors out")
	}
	return newNetLabOf(t, flavors[0])
}

func newNetLabOf(t *testing.T, flavor string) *netLab {
	t.Helper()
	testenv.NeedsRoot(t)
	netProbe.Do(func() {
		body, err := os.ReadFile(harness.GoProgram(t, "tests/functional/netprobe"))
		if err != nil {
			t.Fatal(err)
		}
		netProbe.body = body
	})
	l := &netLab{probe: filepath.Join(t.TempDir(), "netprobe"), id: strings.ToLower(rand.Text()[:8])}
	t.Cleanup(func() { // when the pods are gone
		for _, name := range l.names {
			_ = os.RemoveAll("/var/lib/cni/networks/" + name)
		}
	})
	l.Lab = harness.NewLab(t)
	l.pods = &pods{Host: l.Lab.Host, t: t, stage1: harness.Stage1Flag(t, flavor)}
	writeFile(t, l.probe, string(netProbe.body))
	if err := os.Chmod(l.probe, 0o755); err != nil {
		t.Fatal(err)
	}
	l.image = l.Fetch(harness.ACI(t, harness.Manifest("example.com/netprobe", "1", map[string]any{
		"exec": []string{"/bin/netprobe", "serve", "pod", "tcp::80", "udp::80"},
		"ports": []map[string]any{
			port("web", "tcp", 80), port("web-udp", "udp", 80), port("alt", "tcp", 8080),
			{"name": "range", "protocol": "tcp", "port": 9000, "count": 3},
		},
	}), append(harness.BusyboxEntries(t), harness.File("bin/netprobe", 0o755, string(netProbe.body)))))
	return l
}

// waitFile waits until a file has content and returns that.
func waitFile(t *testing.T, path string) string {
	t.Helper()
	for range 600 {
		if data, err := os.ReadFile(path); err == nil && len(data) > 0 {
			return string(data)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("nothing in %s", path)
	return ""
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// waitExists waits until there is a file.
func waitExists(t *testing.T, path string) {
	t.Helper()
	for range 600 {
		if exists(path) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("no %s", path)
}

// netPod is a pod that serves.
type netPod struct {
	*harness.Proc
	l    *netLab
	name string
	file string // of the UUID
}

// launch starts a pod that says name when asked at TCP and UDP port 80, or where
// it is told to serve; flags are those of the pod.
func (l *netLab) launch(name string, flags []string, serve ...string) *netPod {
	l.t.Helper()
	return l.begin(name, append([]string{"run", l.stage1}, flags...), serve...)
}

func (l *netLab) begin(name string, args []string, serve ...string) *netPod {
	l.t.Helper()
	p := &netPod{l: l, name: name, file: filepath.Join(l.t.TempDir(), "uuid")}
	args = append([]string{args[0], "--uuid-file-save=" + p.file}, args[1:]...)
	p.Proc = l.Start(append(args, l.app(name, serve...)...)...)
	l.t.Cleanup(func() {
		if uuid, err := os.ReadFile(p.file); err == nil && l.PodDir(string(uuid)) != "" {
			l.Run("stop", "--force", string(uuid))
			p.Wait()
		}
	})
	return p
}

// app are the arguments for an app that serves.
func (l *netLab) app(name string, serve ...string) []string {
	if len(serve) == 0 {
		serve = []string{"tcp::80", "udp::80"}
	}
	return append([]string{l.image, "--name=app", "--exec=/bin/netprobe", "--", "serve", name}, serve...)
}

// ready waits until pods serve.
func (l *netLab) ready(pods ...*netPod) {
	l.t.Helper()
	for _, p := range pods {
		p.WaitContains("ready")
		uuid, err := os.ReadFile(p.file)
		if err != nil {
			l.t.Fatal(err)
		}
		p.UUID = string(uuid)
	}
}

// ns is the pod's namespace (ip-netns(8)).
func (p *netPod) ns() string { return "cni-" + p.UUID }

// nets are the pod's networks by its record.
func (p *netPod) nets() []netinfo.Network {
	p.l.t.Helper()
	nets, err := netinfo.Read(filepath.Join(p.l.PodDir(p.UUID), poddir.NetInfo))
	if err != nil {
		p.l.t.Fatal(err)
	}
	return nets
}

// ip is the first address of the first network with a colon in it or not.
func (p *netPod) ip(v6 bool) string {
	p.l.t.Helper()
	for _, n := range p.nets() {
		for _, cidr := range n.IPs {
			if a, _, _ := strings.Cut(cidr, "/"); strings.Contains(a, ":") == v6 {
				return a
			}
		}
	}
	p.l.t.Fatalf("pod %s has no such address: %+v", p.UUID, p.nets())
	return ""
}

// show is what netprobe says about the pod, by rkt enter.
func (p *netPod) show(files ...string) string {
	p.l.t.Helper()
	return p.l.OK(append([]string{"enter", p.UUID, "/bin/netprobe", "show"}, files...)...)
}

// end stops a pod and removes it.
func (p *netPod) end() {
	p.l.t.Helper()
	p.l.OK("stop", "--force", p.UUID)
	p.Wait()
	p.l.OK("rm", p.UUID)
	for _, trace := range p.l.NetTraces(p.UUID) {
		p.l.t.Errorf("left behind by pod %s: %s", p.name, trace)
	}
}

// at is ADDRESS:PORT.
func at(addr string, port int) string {
	if strings.Contains(addr, ":") {
		addr = "[" + addr + "]"
	}
	return fmt.Sprintf("%s:%d", addr, port)
}

var protos = []string{"tcp", "udp"}

// asks asks from a namespace and wants that answer; "" means any.
func (l *netLab) asks(ns, proto, addr, want string) {
	l.t.Helper()
	got, err := l.In(ns, l.probe, "ask", proto, addr)
	if err != nil || want != "" && got != want+"\n" {
		l.t.Errorf("%s asks %s %s: %q, %v; want %q", ns, proto, addr, got, err, want)
	}
}

// cannot asks from a namespace and wants no answer.
func (l *netLab) cannot(ns, proto, addr string) {
	l.t.Helper()
	if got, err := l.In(ns, l.probe, "ask", "-t", "600ms", proto, addr); err == nil {
		l.t.Errorf("%s asks %s %s and gets %q; want none", ns, proto, addr, got)
	}
}

// serve has a host of the lab answer with its name.
func (l *netLab) serve(ns, name string, where ...string) (stop func()) {
	l.t.Helper()
	return l.background(ns, "ready", l.probe, append([]string{"serve", name}, where...)...)
}

// background runs a program on a host of the lab until the test ends or stop is
// called, and waits until it has printed a line with the text, if that is given.
func (l *netLab) background(ns, text, program string, args ...string) (stop func()) {
	l.t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + ns, program}, args...)...)
	r, w, err := os.Pipe()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	_ = w.Close()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = r.Close()
	})
	l.t.Cleanup(stop)
	var said strings.Builder
	s := bufio.NewScanner(r)
	for text == "" || s.Scan() {
		said.WriteString(s.Text() + "\n")
		if strings.Contains(s.Text(), text) {
			go func() {
				for s.Scan() { // keeps the pipe empty
				}
			}()
			return stop
		}
	}
	l.t.Fatalf("%s %v: ended without %q: %s", program, args, text, said.String())
	return nil
}

// file writes a file into the host's configuration directory for networks.
func (l *netLab) file(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.LocalConfig(), "net.d", name)
	writeFile(l.t, path, text)
	return path
}

// conf configures a network whose name is unique on the machine, and returns
// that: leases lie below it. rest are the other keys.
func (l *netLab) conf(file, name, rest string) string {
	l.t.Helper()
	name += "-" + l.id
	l.file(file, `{"name": "`+name+`", `+rest+`}`)
	l.names = append(l.names, name)
	return name
}
