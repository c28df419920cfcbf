// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

// binaries are built once for all tests.
type binaries struct {
	once       sync.Once
	fly, probe string
	err        error
}

var built binaries

func TestMain(m *testing.M) {
	status := m.Run()
	if built.fly != "" {
		_ = os.RemoveAll(filepath.Dir(built.fly))
	}
	os.Exit(status)
}

func programs(t testing.TB) (fly, probe string) {
	t.Helper()
	built.once.Do(func() {
		dir, err := os.MkdirTemp("", "stage1-fly-test-") //nolint:usetesting // shared by all tests, removed by TestMain
		if err != nil {
			built.err = err
			return
		}
		built.fly, built.probe = filepath.Join(dir, "fly"), filepath.Join(dir, "probe")
		for out, pkg := range map[string]string{built.fly: ".", built.probe: "./testdata/probe"} {
			cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if text, err := cmd.CombinedOutput(); err != nil {
				built.err = errors.New(string(text))
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.fly, built.probe
}

// testPod is a pod directory as stage0 leaves it at the moment of exec.
type testPod struct {
	t     testing.TB
	dir   string
	id    poddir.UUID
	root  string // of the app, on the host
	image appc.ImageManifest
	pod   appc.PodManifest
	lock  *os.File
	env   []string
	extra []*os.File // descriptors after the lock
	attr  *syscall.SysProcAttr
	wrap  []string // what the probe does to itself before it becomes run
}

func newPod(t testing.TB) *testPod {
	t.Helper()
	testenv.NeedsRoot(t)
	fly, probe := programs(t)
	p := &testPod{t: t, dir: t.TempDir(), id: poddir.NewUUID()}
	p.root = filepath.Join(p.dir, poddir.Stage1Rootfs, poddir.AppRootfs("web"))
	for _, d := range []string{p.root, filepath.Join(p.root, "bin"), filepath.Join(p.root, "etc"), filepath.Join(p.root, "opt")} {
		p.must(os.MkdirAll(d, 0o755))
	}
	for _, name := range []string{"run", "enter", "gc", "stop"} {
		p.must(os.Link(fly, filepath.Join(p.dir, poddir.Stage1Rootfs, name)))
	}
	copyFile(t, probe, filepath.Join(p.root, "bin", "probe"))
	p.image = appc.ImageManifest{
		ACKind: "ImageManifest", ACVersion: appc.ACVersion, Name: "example.com/web",
		App: &appc.App{Exec: []string{"/bin/probe", "report"}, User: "0", Group: "0"},
	}
	p.pod = appc.PodManifest{ACKind: "PodManifest", ACVersion: appc.ACVersion, Apps: []appc.RuntimeApp{{
		Name: "web", Image: appc.RuntimeImage{ID: appc.ImageID("sha512-" + strings.Repeat("a", 128))},
	}}}
	lock, err := os.Open(p.dir)
	p.must(err)
	p.lock = lock
	t.Cleanup(func() {
		_ = lock.Close()
		if _, err := p.entry("gc", entrypoint.GC{UUID: p.id}.Argv(5)); err != nil {
			t.Errorf("gc: %v", err)
		}
		if left, _ := filepath.Glob("/sys/fs/cgroup/*/machine-rkt*" + p.id.Short() + "*"); len(left) != 0 {
			t.Errorf("cgroups are left: %v", left)
		}
		p.unmountLeft()
	})
	return p
}

// unmountLeft reports mounts that are left on the host, and takes them away:
// the temporary directory is removed next, and must not lead to the host's /dev.
func (p *testPod) unmountLeft() {
	info, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(info)) {
		if dir := strings.Fields(line)[4]; strings.HasPrefix(dir, p.dir) {
			p.t.Errorf("a mount is left on the host: %s", dir)
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
				panic(err)
			}
		}
	}
}

func (p *testPod) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// app is the app section of the runtime app; it starts as the image's.
func (p *testPod) app() *appc.App {
	a := &p.pod.Apps[0]
	if a.App == nil {
		c := *p.image.App
		a.App = &c
	}
	return a.App
}

func (p *testPod) exec(words ...string) { p.app().Exec = append([]string{"/bin/probe"}, words...) }

func (p *testPod) write() {
	p.t.Helper()
	image, err := p.image.Marshal()
	p.must(err)
	pod, err := p.pod.Marshal()
	p.must(err)
	p.must(os.WriteFile(filepath.Join(p.dir, poddir.Stage1Rootfs, poddir.AppManifest("web")), image, 0o644))
	p.must(os.WriteFile(filepath.Join(p.dir, poddir.PodManifest), pod, 0o644))
}

// command is the call of an entrypoint, not started.
func (p *testPod) command(name string, argv []string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.dir, poddir.Stage1Rootfs, name), argv[1:]...)
	cmd.Dir = p.dir
	cmd.Env = append([]string{"LEAK=from the caller", "TERM=caller-term"}, p.env...)
	return cmd
}

func (p *testPod) entry(name string, argv []string) (string, error) {
	var out bytes.Buffer
	cmd := p.command(name, argv)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// runCommand is the call of run with the lock as descriptor 3 and more
// descriptors after it.
func (p *testPod) runCommand(r entrypoint.Run) *exec.Cmd {
	p.t.Helper()
	p.write()
	r.UUID = p.id
	argv, _ := r.Argv(entrypoint.CurrentVersion)
	cmd := p.command("run", argv)
	cmd.Env = entrypoint.RunVars{LockFD: 3}.Environ(cmd.Env)
	cmd.ExtraFiles = append([]*os.File{p.lock}, p.extra...)
	cmd.SysProcAttr = p.attr
	if p.wrap != nil {
		_, probe := programs(p.t)
		cmd.Args = append(append([]string{probe}, p.wrap...), append([]string{cmd.Path}, cmd.Args[1:]...)...)
		cmd.Path = probe
	}
	return cmd
}

type result struct {
	stdout, stderr string
	status         int
	signal         syscall.Signal
}

func (p *testPod) run(r entrypoint.Run) result {
	p.t.Helper()
	cmd := p.runCommand(r)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	res := result{stdout: out.String(), stderr: errs.String(), status: ws.ExitStatus()}
	if ws.Signaled() {
		res.signal = ws.Signal()
	}
	return res
}

// report is what the probe tells (testdata/probe).
type report struct {
	Args, Env             []string
	Dir                   string
	UID, GID, EUID, Umask int
	Groups                []int
	FDs                   []string
	Status                map[string]string
	Nofile                uint64
	OOM, Cgroup           string
	Namespace             map[string]string
	PID, PGID             int
}

func (p *testPod) report(r entrypoint.Run) report {
	p.t.Helper()
	return p.parse(p.run(r))
}

func (p *testPod) parse(res result) (rep report) {
	p.t.Helper()
	if res.status != 0 {
		p.t.Fatalf("status %d, signal %v\n%s%s", res.status, res.signal, res.stdout, res.stderr)
	}
	p.must(json.Unmarshal([]byte(res.stdout), &rep))
	return rep
}

// fails runs the pod and wants status 254 and the text on stderr.
func (p *testPod) fails(r entrypoint.Run, want string) {
	p.t.Helper()
	res := p.run(r)
	if res.status != statusFailed || !strings.Contains(res.stderr, want) {
		p.t.Errorf("status %d, %q, want 254 and %q", res.status, res.stderr, want)
	}
	if !strings.Contains(res.stderr, "run: ") {
		p.t.Errorf("no prefix: %q", res.stderr)
	}
}

// prints runs the pod and wants status 0 and the text on stdout.
func (p *testPod) prints(r entrypoint.Run, want string) {
	p.t.Helper()
	res := p.run(r)
	if res.status != 0 || res.stdout != want {
		p.t.Errorf("status %d, %q %q, want %q", res.status, res.stdout, res.stderr, want)
	}
}

func (p *testPod) read(name string) string {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, name))
	p.must(err)
	return string(data)
}

func hex(n uint64) string {
	s := strconv.FormatUint(n, 16)
	return strings.Repeat("0", 16-len(s)) + s
}
