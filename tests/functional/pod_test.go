// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// pods runs pods under systemd-nspawn: stage1-coreos, or stage1-host if
// RKT_TEST_FLAVORS names that one only.
type pods struct {
	*harness.Host
	t      *testing.T
	stage1 string // flag
	image  string // ID of a busybox
}

func newPods(t *testing.T) *pods {
	t.Helper()
	testenv.NeedsRoot(t)
	flavors := harness.Flavors("coreos", "host")
	if len(flavors) == 0 {
		t.Skip("RKT_TEST_FLAVORS leaves these flavors out")
	}
	return newPodsOf(t, flavors[0])
}

func newPodsOf(t *testing.T, flavor string) *pods {
	t.Helper()
	p := &pods{Host: harness.NewHost(t), t: t}
	if dir := os.Getenv("RKT_TEST_STAGE1_DIR"); dir != "" { // not those that "make" has built
		p.stage1 = "--stage1-path=" + filepath.Join(dir, "stage1-"+flavor+".aci")
	} else {
		p.stage1 = harness.Stage1Flag(t, flavor)
	}
	p.image = p.Fetch(harness.Busybox(t, nil))
	return p
}

// podFlags begin the flags that come before the first image.
var podFlags = []string{
	"--volume", "--hostname", "--dns", "--hosts-entry", "--no-overlay", "--set-env", "--inherit-env", "--interactive", "--uuid-file-save",
	"--ipc", "--net", "--private-users",
}

func isPodFlag(flag string) bool {
	name, _, _ := strings.Cut(flag, "=")
	return slices.ContainsFunc(podFlags, func(p string) bool { return strings.HasPrefix(name, p) })
}

// shell are the arguments of rkt run for a shell script as an app called "app".
func (p *pods) shell(script string, flags ...string) []string {
	return p.program(p.image, append(flags, "--exec=/bin/sh"), "-c", script)
}

// program are the arguments of rkt run for an image as an app called "app".
// Flags may belong to the pod or to the app; an --interactive one has no name.
func (p *pods) program(image string, flags []string, args ...string) []string {
	all := []string{"run", p.stage1}
	if !slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "--net") }) {
		all = append(all, "--net=none")
	}
	for _, f := range flags {
		if isPodFlag(f) {
			all = append(all, f)
		}
	}
	all = append(all, image, "--name=app")
	for _, f := range flags {
		if !isPodFlag(f) {
			all = append(all, f)
		}
	}
	if len(args) > 0 {
		all = append(append(all, "--"), args...)
	}
	return all
}

// sh runs a script that has to succeed and returns what it printed.
func (p *pods) sh(script string, flags ...string) string {
	p.t.Helper()
	return harness.AppOutput(p.OK(p.shell(script, flags...)...), "app")
}

// expect runs a script that has to succeed and print just that.
func (p *pods) expect(want, script string, flags ...string) {
	p.t.Helper()
	r := p.Run(p.shell(script, flags...)...)
	if got := harness.AppOutput(r.Stdout, "app"); r.Status != 0 || got != want {
		p.t.Errorf("%v: %q prints %q, want %q\n%s", flags, script, got, want, r)
	}
}

// refused wants a pod that does not start: the status, the text somewhere, and
// nothing of the app's own.
func (p *pods) refused(status int, want string, args ...string) harness.Result {
	p.t.Helper()
	r := p.Run(args...)
	if r.Status != status || !strings.Contains(r.Stdout+r.Stderr, want) {
		p.t.Errorf("want status %d and %q: %s", status, want, r)
	}
	return r
}

// start starts a pod that prints ready, and waits for that.
func (p *pods) start(args ...string) *harness.Proc {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "uuid")
	proc := p.Start(append([]string{args[0], "--uuid-file-save=" + file}, args[1:]...)...)
	proc.WaitContains("ready")
	uuid, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	proc.UUID = string(uuid)
	return proc
}

// runUUID runs a pod to its end and tells which it was.
func (p *pods) runUUID(args ...string) (harness.Result, string) {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "uuid")
	r := p.Run(append([]string{args[0], "--uuid-file-save=" + file}, args[1:]...)...)
	uuid, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatalf("%v: %s", err, r)
	}
	return r, string(uuid)
}

// exit is what stage1 has recorded about the end of an app.
func (p *pods) exit(uuid, app string) (poddir.AppExit, bool) {
	p.t.Helper()
	dir := p.PodDir(uuid)
	name := filepath.Join(dir, poddir.Stage1Rootfs, poddir.AppExitFile(app))
	if id, err := os.ReadFile(filepath.Join(dir, "stage1TreeStoreID")); err == nil {
		if upper := filepath.Join(dir, "overlay", string(id), "upper"); exists(upper) {
			name = filepath.Join(upper, poddir.AppExitFile(app))
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return poddir.AppExit{}, false
	}
	e, err := poddir.ParseAppExit(data)
	if err != nil {
		p.t.Errorf("%s: %v", name, err)
	}
	return e, true
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestPodSharesNamespaces: what apps of a pod have in common, and what not.
func TestPodSharesNamespaces(t *testing.T) {
	p := newPods(t)
	look := "for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done; hostname; echo $$"
	r := p.Run("run", p.stage1, "--net=none", p.image, "--name=one", "--exec=/bin/sh", "--", "-c", look, "---",
		p.image, "--name=two", "--exec=/bin/sh", "--", "-c", look)
	one := strings.Split(harness.AppOutput(r.Stdout, "one"), "\n")
	two := strings.Split(harness.AppOutput(r.Stdout, "two"), "\n")
	if r.Status != 0 || len(one) != 8 || len(two) != 8 {
		t.Fatalf("%s", r)
	}
	for i, name := range []string{"net", "ipc", "uts", "pid"} {
		host, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if one[i] != two[i] || one[i] == host {
			t.Errorf("%s namespace: %s and %s, of the host %s", name, one[i], two[i], host)
		}
	}
	if one[4] == two[4] {
		t.Errorf("both apps have the mount namespace %s", one[4])
	}
	if one[5] != two[5] || !strings.HasPrefix(one[5], "rkt-") {
		t.Errorf("host names %q and %q", one[5], two[5])
	}
	if one[6] == "1" || two[6] == "1" {
		t.Errorf("an app is PID 1: %s, %s", one[6], two[6])
	}
}

// TestPodAppsTalk: loopback, abstract sockets and shared memory are the pod's.
func TestPodAppsTalk(t *testing.T) {
	p := newPods(t)
	server := "echo over loopback | nc -l -p 7000; echo shared >/dev/shm/file"
	client := "until nc 127.0.0.1 7000 2>/dev/null; do sleep 0.05; done; until cat /dev/shm/file 2>/dev/null; do sleep 0.05; done"
	r := p.Run("run", p.stage1, "--net=none", p.image, "--name=server", "--exec=/bin/sh", "--", "-c", server, "---",
		p.image, "--name=client", "--exec=/bin/sh", "--", "-c", client)
	if got := harness.AppOutput(r.Stdout, "client"); r.Status != 0 || got != "over loopback\nshared\n" {
		t.Errorf("%q: %s", got, r)
	}
	if _, err := os.Stat("/dev/shm/file"); err == nil {
		t.Errorf("the pod's /dev/shm is the host's")
	}
}

// TestPodProcess: what an app's process is like.
func TestPodProcess(t *testing.T) {
	p := newPods(t)
	p.expect("/\n0022\n", "pwd; umask")
	p.expect("session leader\n", `set -- $(cat /proc/$$/stat); [ $6 = $$ ] && echo session leader`)
	p.expect("0\n1\n2\n", "for f in /proc/self/fd/*; do [ -e $f ] && echo ${f##*/}; done; true")
	signals := harness.AppOutput(p.OK(p.program(p.image, []string{"--exec=/bin/grep"}, "^Sig[IB]", "/proc/self/status")...), "app")
	if signals != "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n" {
		t.Errorf("%q", signals)
	}
	if got := p.sh("cat /proc/1/comm"); got != "systemd\n" {
		t.Errorf("PID 1 is %q", got)
	}
}

// TestPodFlavors: both images with systemd-nspawn start a pod.
func TestPodFlavors(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, flavor := range harness.Flavors("coreos", "host") {
		t.Run(flavor, func(t *testing.T) {
			p := newPodsOf(t, flavor)
			proc := p.start(p.shell("echo ready; exec sleep 1000")...)
			if got, err := os.Readlink(filepath.Join(p.PodDir(proc.UUID), "flavor")); err != nil || got != flavor {
				t.Errorf("flavor %q, %v", got, err)
			}
			if got := p.OK("enter", proc.UUID, "cat", "/proc/1/comm"); got != "systemd\n" {
				t.Errorf("PID 1 is %q", got)
			}
			p.OK("stop", proc.UUID)
			if r := proc.Wait(); r.Status != 0 {
				t.Errorf("%s", r)
			}
			if r := p.Run(p.shell("echo hello; exit 5")...); r.Status != 5 || harness.AppOutput(r.Stdout, "app") != "hello\n" {
				t.Errorf("%s", r)
			}
		})
	}
}

// TestPodHostNamespaces: what is the host's on request.
func TestPodHostNamespaces(t *testing.T) {
	p := newPods(t)
	for kind, flag := range map[string]string{"net": "--net=host", "ipc": "--ipc=parent"} {
		host, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		p.expect(host+"\n", "readlink /proc/self/ns/"+kind, flag)
	}
	p.refused(254, "--ipc", p.shell("true", "--ipc=other")...)
	p.expect("1: lo\n", "ip -o link | cut -d: -f1,2")
	p.refused(254, "failed to setup network", p.shell("true", "--net=no-such-network")...)
}

// TestPodExport: the app's root as it was left, without what was mounted.
func TestPodExport(t *testing.T) {
	p := newPods(t)
	for _, more := range [][]string{nil, {"--no-overlay"}} {
		_, uuid := p.runUUID(p.shell("echo made >/made; rm /etc/group; echo x >/v/x", append(more, "--volume=v,kind=host,source="+t.TempDir(), "--mount=volume=v,target=/v")...)...)
		aci := filepath.Join(t.TempDir(), "pod.aci")
		p.OK("export", uuid, aci)
		image := p.Fetch(aci)
		r := p.Run(p.program(image, []string{"--exec=/bin/sh"}, "-c", "cat /made; ls /v; [ -e /etc/group ] || echo gone; [ -e /proc/1/comm ] && echo proc")...)
		if got := harness.AppOutput(r.Stdout, "app"); r.Status != 0 || got != "made\ngone\nproc\n" {
			t.Errorf("%v: %q: %s", more, got, r)
		}
	}
}

// TestPodPrivateUsers: root of the pod is nobody on the host.
func TestPodPrivateUsers(t *testing.T) {
	p := newPods(t)
	dir := volumeDir(t, "f")
	proc := p.start(p.shell("id -u; cat /proc/self/uid_map; stat -c '%u %g' / /etc/passwd /v/f; touch /x /v/x; mknod /tmp/n c 1 3 2>/dev/null || echo no device; echo ready; exec sleep 1000",
		"--private-users", "--volume=v,kind=host,source="+dir, "--mount=volume=v,target=/v", "--memory=64Mi")...)
	uid := strings.TrimSpace(harness.Command(t, "stat", "-c", "%u", "/proc/"+p.Status(proc.UUID)["pid"]))
	if uid == "0" {
		t.Errorf("PID 1 is root of the host")
	}
	p.OK("stop", proc.UUID)
	r := proc.Wait()
	lines := strings.Fields(harness.AppOutput(r.Stdout, "app"))
	if r.Status != 0 || len(lines) < 10 || lines[0] != "0" || lines[1] != "0" || lines[2] != uid || strings.Join(lines[4:10], " ") != "0 0 0 0 0 0" {
		t.Errorf("%q of user %s: %s", lines, uid, r)
	}
	if st, err := os.Stat(filepath.Join(dir, "x")); err != nil {
		t.Errorf("written through the volume: %v", err)
	} else if sys := st.Sys().(*syscall.Stat_t); sys.Uid != 0 {
		t.Errorf("a file made by root of the pod in an idmapped volume belongs to %d", sys.Uid)
	}
}
