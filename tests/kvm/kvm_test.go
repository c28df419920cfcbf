// SPDX-License-Identifier: Apache-2.0

//go:build kvm

package kvm

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// pods runs pods in virtual machines.
type pods struct {
	*harness.Host
	t      *testing.T
	stage1 string
	image  string
}

// webPort is declared by the image.
const webPort = 8080

func newPods(t *testing.T) *pods {
	t.Helper()
	testenv.NeedsRoot(t)
	p := &pods{Host: harness.NewHost(t), t: t, stage1: harness.Stage1Flag(t, "kvm")}
	p.image = p.Fetch(harness.Busybox(t, map[string]any{
		"exec": []string{"/bin/sh"}, "user": "0", "group": "0",
		"ports": []map[string]any{{"name": "web", "protocol": "tcp", "port": webPort}},
	}))
	return p
}

// start starts a pod whose script prints ready, and waits for that.
func (p *pods) start(args ...string) *harness.Proc {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "uuid")
	proc := p.Start(append([]string{"run", p.stage1, "--uuid-file-save=" + file}, args...)...)
	proc.WaitContains("ready")
	uuid, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	proc.UUID = strings.TrimSpace(string(uuid))
	return proc
}

func sh(name, script string, flags ...string) []string {
	return append(append([]string{"--name=" + name, "--exec=/bin/sh"}, flags...), "--", "-c", script)
}

func (p *pods) app(name, script string, flags ...string) []string {
	return append([]string{p.image}, sh(name, script, flags...)...)
}

// qemu is the process ID of a pod's machine.
func (p *pods) qemu(proc *harness.Proc) int {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.PodDir(proc.UUID), "pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

// TestRefused: what a virtual machine is not for is said before one is started.
func TestRefused(t *testing.T) {
	p := newPods(t)
	run := func(flags ...string) []string {
		return append(append([]string{"run", p.stage1}, flags...), p.image, "--name=app")
	}
	for want, args := range map[string][]string{
		"flavor kvm requires private network configuration (try --net)":                 run("--net=host"),
		"flavor kvm requires private IPC namespace (try to remove --ipc)":               run("--ipc=parent"),
		`volume "d": flavor kvm cannot give a virtual machine /dev/null, which is neit`: run("--net=none", "--volume=d,kind=host,source=/dev/null"),
		`volume "d": stat /no/such/file: no such file or directory`:                     run("--net=none", "--volume=d,kind=host,source=/no/such/file"),
	} {
		r := p.Run(args...)
		if r.Status != 254 || !strings.Contains(r.Stderr, want) {
			t.Errorf("want status 254 and %q: %s", want, r)
		}
	}
	p.CollectAll()
	p.CheckEmpty()
}

// probe looks at everything that does not need a start of its own.
const probe = `
id
grep -E '^(CapBnd|Seccomp):' /proc/self/status
echo "A=$A"
cat /ro/file
echo x >/ro/x || echo ro refuses
echo x >/rw/x && cat /rw/x
mknod /rw/disk b 8 0 || echo rw refuses a device
mknod /disk b 8 0 || echo root refuses a device
ln -s /etc/shadow /rw/link; cat /rw/link >/dev/null || echo link leads nowhere
ln -s ../../../../../../../../etc/shadow /rw/up; cat /rw/up >/dev/null || echo up leads nowhere
ls -l /shared/empty
ip -o addr show dev eth0 | grep -o 'inet [0-9.]*'
echo ready
while ! [ -e /rw/end ]; do echo from the machine | nc -l -p 8080 -w 5; done
exit 7
`

// TestPod: a pod with two apps, volumes, a network, a forwarded port, enter,
// logs, and the exit status of the app that fails.
func TestPod(t *testing.T) {
	p := newPods(t)
	rw, ro := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(ro, "file"), []byte("of the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	args := []string{
		"--port=web:" + strconv.Itoa(port),
		"--volume=rw,kind=host,source=" + rw, "--volume=ro,kind=host,source=" + ro + ",readOnly=true", "--volume=shared,kind=empty",
	}
	args = append(args, p.app("first", probe, "--environment=A=b c",
		"--mount=volume=rw,target=/rw", "--mount=volume=ro,target=/ro", "--mount=volume=shared,target=/shared")...)
	second := p.Fetch(harness.Busybox(t, nil)) // of which no port is forwarded
	args = append(append(args, "---", second), sh("second", "touch /shared/empty; sleep 100000", "--mount=volume=shared,target=/shared")...)
	proc := p.start(args...)
	out := harness.AppOutput(proc.Output(), "first")
	for _, want := range []string{
		"uid=0(root) gid=0(root)", "CapBnd:\t00000000a80425fb", "Seccomp:\t2", "A=b c", "of the host", "ro refuses", "x\n", "rw refuses a device",
		"root refuses a device", "link leads nowhere", "up leads nowhere", "inet ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, err := os.Lstat(filepath.Join(rw, "disk")); err == nil {
		t.Error("root of the guest has made a device in a volume of the host")
	}
	if entries, err := os.ReadDir(ro); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	p.confined(proc)
	if body := fetch(port); !strings.Contains(body, "from the machine") {
		t.Errorf("port %d answers %q", port, body)
	}
	r := p.Run("enter", "--app=second", proc.UUID, "/bin/sh", "-c", "echo out; echo err >&2; id -u; exit 5")
	if r.Status != 5 || r.Stdout != "out\n0\n" || !strings.Contains(r.Stderr, "err\n") {
		t.Errorf("enter: %s", r)
	}
	if r := p.RunWith("typed", "enter", "--app=second", proc.UUID, "/bin/cat"); r.Status != 0 || r.Stdout != "typed" {
		t.Errorf("enter with an input: %s", r)
	}
	if err := os.WriteFile(filepath.Join(rw, "end"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := proc.Wait(); r.Status != 7 {
		t.Errorf("want status 7: %s", r)
	}
	status := p.Status(proc.UUID)
	if status["app-first"] != "7" || status["app-second"] != "0" || status["state"] != "exited" {
		t.Errorf("%v", status)
	}
	if logs := p.OK("logs", proc.UUID); !strings.Contains(logs, "of the host") {
		t.Errorf("logs: %s", logs)
	}
	p.CollectAll()
	p.CheckEmpty()
	if traces := p.NetTraces(proc.UUID); len(traces) > 0 {
		t.Errorf("left behind: %v", traces)
	}
}

// confined: qemu is nobody, can do nothing, and sees nothing.
func (p *pods) confined(proc *harness.Proc) {
	p.t.Helper()
	pid := p.qemu(proc)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, want := range []string{"CapEff:\t0000000000000000", "CapBnd:\t", "Seccomp:\t2", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), want) {
			p.t.Errorf("no %q in the status of qemu:\n%s", want, status)
		}
	}
	if strings.Contains(string(status), "Uid:\t0\t") {
		p.t.Error("qemu is root")
	}
	for _, kind := range []string{"mnt", "pid", "net", "ipc", "uts"} {
		own, err1 := os.Readlink("/proc/self/ns/" + kind)
		its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err1 != nil || err2 != nil || own == its {
			p.t.Errorf("namespace %s of qemu: %s, ours %s (%v, %v)", kind, its, own, err1, err2)
		}
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/etc/shadow", pid)); err == nil {
		p.t.Error("qemu sees files of the host")
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, fd := range fds {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if strings.Contains(to, "pods/") {
			p.t.Errorf("qemu holds descriptor %s: %s", fd.Name(), to)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// fetch reads what the port of the host says, trying for a while.
func fetch(port int) (text string) {
	for range 30 {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(port), 10*time.Second)
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			b, _ := io.ReadAll(io.LimitReader(c, http.DefaultMaxHeaderBytes))
			_ = c.Close()
			if len(b) > 0 {
				return string(b)
			}
		}
		time.Sleep(time.Second)
	}
	return ""
}

// TestStop: a pod that is stopped ends with 0, one whose machine is killed with
// 1 and a reason; nothing of either is left.
func TestStop(t *testing.T) {
	p := newPods(t)
	stopped := p.start(append([]string{"--net=none"}, p.app("app", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 1; done")...)...)
	killed := p.start(append([]string{"--net=none"}, p.app("app", "echo ready; sleep 100000")...)...)
	p.OK("stop", stopped.UUID)
	if r := stopped.Wait(); r.Status != 0 || !strings.Contains(r.Stdout, "bye") {
		t.Errorf("stopped: %s", r)
	}
	if s := p.Status(stopped.UUID); s["app-app"] != "0" || s["state"] != "exited" {
		t.Errorf("%v", s)
	}
	if err := unix.Kill(p.qemu(killed), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r := killed.Wait(); r.Status != 1 || !strings.Contains(r.Stderr, "the virtual machine has ended before the apps of the pod") {
		t.Errorf("killed: %s", r)
	}
	if s := p.Status(killed.UUID); s["state"] != "exited" {
		t.Errorf("%v", s)
	}
	p.CollectAll()
	p.CheckEmpty()
	for _, uuid := range []string{stopped.UUID, killed.UUID} {
		if out, err := exec.Command("pgrep", "-f", uuid).Output(); err == nil {
			t.Errorf("processes of %s are left: %s", uuid, out)
		}
	}
}
