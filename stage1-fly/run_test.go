// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

func TestWhatTheAppSees(t *testing.T) {
	p := newPod(t)
	p.app().Environment = appc.Environment{{Name: "ODD", Value: "two\nlines \\ \"q\" "}}
	p.app().Exec = []string{"/bin/probe", "report", "a b", "$HOME", "\n", "%s", ""}
	p.app().WorkingDirectory = "/opt"
	extra, err := os.Open("/dev/null")
	p.must(err)
	defer func() { _ = extra.Close() }()
	p.extra = []*os.File{extra}
	r := p.report(entrypoint.Run{})
	if diff := cmp.Diff(p.app().Exec, r.Args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	want := []string{
		"AC_APP_NAME=web", "HOME=/root", "LOGNAME=root", "ODD=two\nlines \\ \"q\" ",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SHELL=/bin/sh", "USER=root", "container=rkt",
	}
	if diff := cmp.Diff(want, r.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	// 0 to 2 and the pod lock; the other descriptor is closed.
	if diff := cmp.Diff([]string{"0", "1", "2", "3"}, r.FDs); diff != "" {
		t.Errorf("descriptors (-want +got):\n%s", diff)
	}
	if r.Dir != "/opt" || r.Umask != 0o022 || r.UID != 0 || !slices.Equal(r.Groups, []int{0}) {
		t.Errorf("%+v", r)
	}
	if r.Status["NoNewPrivs"] != "0" || r.Status["Seccomp"] != "0" || r.Status["CapBnd"] != ownBounding(t) {
		t.Errorf("fly restricts nothing by default: %v", r.Status)
	}
	own, _ := os.Readlink("/proc/self/ns/mnt")
	if r.Namespace["mnt"] == own {
		t.Error("the app is in the mount namespace of the host")
	}
	for _, n := range []string{"ipc", "net", "pid", "uts"} {
		if own, _ := os.Readlink("/proc/self/ns/" + n); r.Namespace[n] != own {
			t.Errorf("another %s namespace", n)
		}
	}
}

// ownBounding is the bounding set of the test, as /proc shows it.
func ownBounding(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "CapBnd:")
	return strings.Fields(rest)[0]
}

func TestFilesOfThePod(t *testing.T) {
	p := newPod(t)
	p.app().User, p.app().Group = "7", "8"
	r := p.report(entrypoint.Run{Debug: true, ResolvMode: entrypoint.ModeNone})
	if got := p.read(poddir.PID); got != strconv.Itoa(r.PID)+"\n" {
		t.Errorf("pid %q, the app is %d", got, r.PID)
	}
	if got := p.read(poddir.PGID); got != strconv.Itoa(r.PGID)+"\n" {
		t.Errorf("pgid %q, the app's is %d", got, r.PGID)
	}
	env := p.read(filepath.Join(poddir.Stage1Rootfs, poddir.AppEnv("web")))
	if !strings.Contains(env, "AC_APP_NAME=web\n") || !strings.Contains(env, "USER=7\n") || !strings.Contains(env, "HOME=/\n") {
		t.Errorf("environment file: %q", env)
	}
	const config = `{"MetadataServiceURL":"","PrivateUsers":"","MDSToken":"","Hostname":"","Debug":true,"Mutable":false,` +
		`"ResolvConfMode":"none","EtcHostsMode":"default","NetList":{},"Interactive":false,` +
		`"InsecureOptions":{"DisablePaths":false,"DisableCapabilities":false,"DisableSeccomp":false},"IPCMode":""}`
	if got := p.read(poddir.RuntimeConfig); got != config {
		t.Errorf("runtime-config: %s", got)
	}
	for name, mode := range map[string]os.FileMode{poddir.PID: 0o644, poddir.RuntimeConfig: 0o644, "app-profile.json": 0o600} {
		if fi, err := os.Stat(filepath.Join(p.dir, name)); err != nil || fi.Mode() != mode {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
	for _, name := range []string{poddir.Subcgroup, poddir.Cgroups} {
		if _, err := os.Stat(filepath.Join(p.dir, name)); err == nil {
			t.Errorf("%s without a limit", name)
		}
	}
}

func TestIdentity(t *testing.T) {
	p := newPod(t)
	p.must(os.WriteFile(filepath.Join(p.root, "etc/passwd"), []byte("www:x:33:33::/var/www:/bin/nologin\n"), 0o644))
	p.must(os.WriteFile(filepath.Join(p.root, "etc/group"), []byte("web:x:44:other"), 0o644))
	p.app().User, p.app().Group, p.app().SupplementaryGIDs = "www", "web", []int{400, 500, 1200}
	r := p.report(entrypoint.Run{})
	if r.UID != 33 || r.EUID != 33 || r.GID != 44 || !slices.Equal(r.Groups, []int{44, 400, 500, 1200}) {
		t.Errorf("%+v", r)
	}
	if !slices.Contains(r.Env, "HOME=/var/www") || !slices.Contains(r.Env, "USER=www") || !slices.Contains(r.Env, "SHELL=/bin/nologin") {
		t.Errorf("%q", r.Env)
	}
	for _, set := range []string{"CapEff", "CapPrm", "CapInh", "CapAmb"} {
		if r.Status[set] != hex(0) {
			t.Errorf("%s: %s", set, r.Status[set])
		}
	}
	p.app().User = "nobody"
	p.fails(entrypoint.Run{}, `run: "nobody" user not found`)
	p.app().User = "4294967295"
	p.fails(entrypoint.Run{}, `run: user "4294967295": ID is out of range`)
}

func TestDockerImageWithoutGroup(t *testing.T) {
	p := newPod(t)
	p.image.Annotations.Set("appc.io/docker/repository", "library/x")
	p.must(os.WriteFile(filepath.Join(p.root, "etc/passwd"), []byte("www:x:33:33::/:/bin/sh\n"), 0o644))
	p.image.App.User, p.image.App.Group = "www", "www"
	if r := p.report(entrypoint.Run{}); r.UID != 33 || r.GID != 33 {
		t.Errorf("%+v", r)
	}
	p.app().Group = "other"
	p.fails(entrypoint.Run{}, `"other" group not found`)
}

func TestEnd(t *testing.T) {
	p := newPod(t)
	p.exec("exit", "7")
	if r := p.run(entrypoint.Run{}); r.status != 7 {
		t.Errorf("%+v", r)
	}
	p.exec("signal", strconv.Itoa(int(syscall.SIGTERM)))
	if r := p.run(entrypoint.Run{}); r.signal != syscall.SIGTERM {
		t.Errorf("%+v", r)
	}
}

func TestProgramLookup(t *testing.T) {
	p := newPod(t)
	p.must(os.Symlink("/bin/probe", filepath.Join(p.root, "opt", "tool")))
	p.must(os.WriteFile(filepath.Join(p.root, "bin", "tool"), []byte("not executable"), 0o644))
	for _, tt := range []struct {
		name, dir, path string
		argv0           string
	}{
		{"probe", "", "", "/bin/probe"},
		{"tool", "/opt", "", "/opt/tool"},
		{"tool", "", "/bin:/opt", "/opt/tool"},
		{"tool", "", "bin:opt", "/opt/tool"},
		{"./tool", "/opt", "/nowhere", "/opt/./tool"},
		{"opt/tool", "", "", "/opt/tool"},
	} {
		p.app().Exec = []string{tt.name, "report"}
		p.app().WorkingDirectory = tt.dir
		p.app().Environment = nil
		if tt.path != "" {
			p.app().Environment = appc.Environment{{Name: "PATH", Value: tt.path}}
		}
		if r := p.report(entrypoint.Run{}); r.Args[0] != tt.argv0 {
			t.Errorf("%+v: argv[0] %q", tt, r.Args[0])
		}
	}
	p.app().Exec, p.app().Environment, p.app().WorkingDirectory = []string{"nothing"}, nil, ""
	p.fails(entrypoint.Run{}, `unable to find "nothing" in "/:/bin:/usr/bin"`)
	p.app().Exec = []string{"/no/such thing"}
	p.fails(entrypoint.Run{}, `Error: Unable to open "/no/such thing": No such file or directory`)
	p.app().Exec = []string{"/bin/tool"}
	p.fails(entrypoint.Run{}, `Error: "/bin/tool" is not executable`)
	p.must(os.WriteFile(filepath.Join(p.root, "bin", "script"), []byte("#!/bin/gone -x\n"), 0o755))
	p.app().Exec = []string{"/bin/script"}
	p.fails(entrypoint.Run{}, `Error: Unable to open "/bin/gone": No such file or directory`)
	p.app().Exec, p.app().WorkingDirectory = []string{"/bin/probe"}, "/missing"
	p.fails(entrypoint.Run{}, `can't change to working directory "/missing"`)
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*testPod, *entrypoint.Run)
		want   string
	}{
		{"two apps", func(p *testPod, _ *entrypoint.Run) {
			p.pod.Apps = append(p.pod.Apps, p.pod.Apps[0])
			p.pod.Apps[1].Name = "other"
		}, "fly only supports 1 application per Pod for now"},
		{"no app", func(p *testPod, _ *entrypoint.Run) { p.pod.Apps = nil }, "fly only supports 1 application per Pod for now"},
		{"empty exec", func(p *testPod, _ *entrypoint.Run) { p.app().Exec = nil }, `image "example.com/web" has an empty "exec" (try --exec=BINARY)`},
		{"user namespace", func(_ *testPod, r *entrypoint.Run) { r.PrivateUsers = "65536:65536" }, "the fly flavor does not support user namespaces"},
		{"mutable", func(_ *testPod, r *entrypoint.Run) { r.Mutable = true }, "stage1 does not support mutable pods"},
		{"ipc", func(_ *testPod, r *entrypoint.Run) { r.IPC = "bogus" }, `invalid IPC mode "bogus"`},
		{"post-stop", func(p *testPod, _ *entrypoint.Run) {
			p.app().EventHandlers = []appc.EventHandler{{Name: "post-stop", Exec: []string{"/bin/probe"}}}
		}, `the fly flavor does not support the event handler "post-stop"`},
		{"selinux", func(p *testPod, _ *entrypoint.Run) {
			p.image.App.Isolators = appc.Isolators{{Name: isolator.SELinuxContext, Value: []byte(`{"user":"u","role":"r","type":"t","level":"l"}`)}}
		}, "the fly flavor does not support the isolator os/linux/selinux-context"},
		{"unknown isolator", func(p *testPod, _ *entrypoint.Run) {
			p.image.App.Isolators = appc.Isolators{{Name: "example.com/unknown", Value: []byte(`1`)}}
		}, "the fly flavor does not support the isolator example.com/unknown"},
		{"block limit of the user", func(p *testPod, _ *entrypoint.Run) {
			p.app().Isolators = appc.Isolators{{Name: isolator.BlockIOPS, Value: []byte(`{"default":true,"limit":"10"}`)}}
		}, "the fly flavor does not support the isolator resource/block-iops"},
		{"missing volume", func(p *testPod, _ *entrypoint.Run) {
			p.pod.Apps[0].Mounts = []appc.Mount{{Volume: "gone", Path: "/x"}}
		}, "could not find volume gone"},
		{"missing source", func(p *testPod, _ *entrypoint.Run) {
			p.pod.Apps[0].Mounts = []appc.Mount{{Volume: "v", Path: "/x"}}
			p.pod.Volumes = []appc.Volume{{Name: "v", Kind: "host", Source: "/no/such source"}}
		}, "Failed to stat /no/such source: No such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPod(t)
			var r entrypoint.Run
			tt.change(p, &r)
			p.fails(r, tt.want)
			if _, err := os.Stat(filepath.Join(p.dir, poddir.PID)); err == nil {
				t.Error("a PID file of a pod that did not start")
			}
		})
	}
}

func TestIgnored(t *testing.T) {
	p := newPod(t)
	p.exec("exit", "0")
	p.image.App.Isolators = appc.Isolators{{Name: isolator.BlockIOPS, Value: []byte(`{"default":true,"limit":"10"}`)}}
	p.app().Isolators = p.image.App.Isolators
	r := p.run(entrypoint.Run{
		Net: "none", LocalConfig: "/etc/rkt", Interactive: true, DisableCapabilities: true, DisablePaths: true, DisableSeccomp: true,
		MDSToken: strings.Repeat("0", 32), Hostname: "h",
	})
	want := "Warning: -hostname not supported; ignoring\n"
	if r.status != 0 || r.stdout != want || !strings.Contains(r.stderr, "warning: resource/block-iops isolator set") {
		t.Errorf("%+v", r)
	}
}

func TestSocketActivation(t *testing.T) {
	p := newPod(t)
	extra, err := os.Open("/dev/null")
	p.must(err)
	defer func() { _ = extra.Close() }()
	p.extra = []*os.File{extra}
	// The activated descriptor is 3, so the lock has to be another one; a
	// shell puts its own PID, which it keeps across exec, into LISTEN_PID.
	cmd := p.runCommand(entrypoint.Run{})
	cmd.ExtraFiles = []*os.File{extra, p.lock}
	cmd.Args = append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Env = append(entrypoint.RunVars{LockFD: 4}.Environ(cmd.Env), "LISTEN_FDS=1", "LISTEN_FDNAMES=web")
	out, err := cmd.Output()
	p.must(err)
	r := p.parse(result{stdout: string(out)})
	if !slices.Equal(r.FDs, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("descriptors %v", r.FDs)
	}
	for _, want := range []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=web", "LISTEN_PID=" + strconv.Itoa(r.PID)} {
		if !slices.Contains(r.Env, want) {
			t.Errorf("no %s in %q", want, r.Env)
		}
	}
}

func TestPreStart(t *testing.T) {
	p := newPod(t)
	p.app().User, p.app().Group = "7", "8"
	p.app().EventHandlers = []appc.EventHandler{{Name: "pre-start", Exec: []string{"/bin/probe", "write", "/opt/made"}}}
	p.exec("cat", "/opt/made")
	p.prints(entrypoint.Run{}, "written by the app\n")
	p.app().EventHandlers[0].Exec = []string{"/bin/probe", "exit", "3"}
	p.fails(entrypoint.Run{}, `event handler "pre-start": exit status 3`)
}

func TestFileLimit(t *testing.T) {
	p := newPod(t)
	p.exec("cat", "/proc/self/limits")
	// The probe is a Go program and raises its soft limit, so the profile tells.
	cmd := p.runCommand(entrypoint.Run{})
	cmd.Args = append([]string{"/bin/sh", "-c", `ulimit -S -n 300; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	_, err := cmd.Output()
	p.must(err)
	if !strings.Contains(p.read("app-profile.json"), `{"cur":300,`) {
		t.Errorf("the soft limit of the caller is lost: %s", p.read("app-profile.json"))
	}
}

func TestPrivateIPC(t *testing.T) {
	p := newPod(t)
	own, _ := os.Readlink("/proc/self/ns/ipc")
	if r := p.report(entrypoint.Run{IPC: "private"}); r.Namespace["ipc"] == own {
		t.Error("the IPC namespace of the host")
	}
	if r := p.report(entrypoint.Run{IPC: "parent"}); r.Namespace["ipc"] != own {
		t.Error("not the IPC namespace of the host")
	}
}

// TestStaleActivation: a number that names no descriptor must not name one that
// rkt opens later.
func TestStaleActivation(t *testing.T) {
	p := newPod(t)
	cmd := p.runCommand(entrypoint.Run{})
	cmd.Args = append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Env = append(cmd.Env, "LISTEN_FDS=3")
	out, err := cmd.Output()
	p.must(err)
	r := p.parse(result{stdout: string(out)})
	if want := []string{"0", "1", "2", "3"}; !slices.Equal(r.FDs, want) {
		t.Errorf("descriptors %v, want %v", r.FDs, want)
	}
}
