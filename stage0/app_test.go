// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
	"github.com/rkt/rkt/v2/stage0/internal/rootfs"
	"github.com/rkt/rkt/v2/store/treestore"
)

func wantText(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// TestApps: an app comes, runs twice, goes and leaves nothing, and comes again.
func TestApps(t *testing.T) {
	needs(t)
	for _, mode := range []string{"overlay", "copy", "users", "copied-users"} {
		t.Run(mode, func(t *testing.T) { testApps(t, mode) })
	}
}

func testApps(t *testing.T, mode string) {
	ctx := context.Background()
	w := newMutableWorld(t)
	if mode == "users" {
		if err := rootfs.TryMapped(w.dir); err != nil {
			t.Skipf("%v: use a kernel and a file system with idmapped mounts", err)
		}
	}
	m := w.sandbox(mode)
	before := m.entries()
	cfg := AppConfig{Env: w.env, App: "web"}
	add := AddAppConfig{Env: w.env, App: App{Image: appID, Name: "web", Args: []string{"a", "b"}, Environment: appc.Environment{{Name: "A", Value: "b"}}}}
	for range 2 {
		if err := AddApp(ctx, m.open(m.uuid), add); err != nil {
			t.Fatal(err)
		}
		m.checkAdded(mode)
		if err := StartApp(ctx, m.open(m.uuid), cfg); err != nil {
			t.Fatal(err)
		}
		m.wantState("web", pod.AppRunning)
		if err := StopApp(ctx, m.open(m.uuid), cfg); err != nil {
			t.Fatal(err)
		}
		if a := m.app("web"); a.State != pod.AppExited || a.ExitCode == nil || *a.ExitCode != 15 || a.Signal != 15 {
			t.Errorf("stopped: %+v", a)
		}
		wantText(t, StopApp(ctx, m.open(m.uuid), cfg), `app "web" is not running`)
		if err := StartApp(ctx, m.open(m.uuid), cfg); err != nil {
			t.Fatal(err)
		}
		if a := m.app("web"); a.State != pod.AppRunning || a.ExitCode != nil {
			t.Errorf("started again: %+v", a)
		}
		if err := RemoveApp(ctx, m.open(m.uuid), cfg); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, m.entries()); diff != "" {
			t.Errorf("left behind (-want +got):\n%s", diff)
		}
		wantText(t, RemoveApp(ctx, m.open(m.uuid), cfg), `error: nonexistent app "web"`)
	}
	m.end()
	w.gc(nil)
	w.gc(nil)
	w.wantEmpty()
}

func (m *mutablePod) checkAdded(mode string) {
	t := m.t
	t.Helper()
	m.wantState("web", pod.AppCreated)
	r := m.report("app_add")
	root := filepath.Join(m.store.dir, stage1ID.String(), "rootfs")
	if diff := cmp.Diff([]string{root + "/app_add", "--debug=false", "--uuid=" + m.uuid.String(), "--app=web"}, r.Args); diff != "" {
		t.Errorf("argv (-want +got):\n%s", diff)
	}
	pid, _ := m.open(m.uuid).PID()
	wantEnv := []string{"RKT_STAGE1_ENTERCMD=" + root + "/init", fmt.Sprintf("RKT_STAGE1_ENTERPID=%d", pid), "PATH=" + os.Getenv("PATH")}
	if diff := cmp.Diff(wantEnv, r.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if r.AppFile != "content" {
		t.Errorf("the tree is not in the pod: %q", r.AppFile)
	}
	if target, _ := os.Readlink(m.inPod(poddir.AppRootfs("web") + "/etc/mtab")); target != "../proc/self/mounts" {
		t.Errorf("mtab -> %q", target)
	}
	if mounted := strings.Contains(m.entries(), "mount "); mounted != (mode == "overlay" || mode == "users") {
		t.Errorf("mounted inside the pod: %v", mounted)
	}
	m.wantNoMounts()
	man, err := m.open(m.uuid).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	app := man.Apps[0].App
	if !slices.Equal(app.Exec, []string{"/bin/app", "a", "b"}) || man.Apps[0].Name != "web" {
		t.Errorf("in the manifest: %s %q", man.Apps[0].Name, app.Exec)
	}
	env, err := os.ReadFile(m.inPod(poddir.AppEnv("web")))
	if err != nil || !strings.Contains(string(env), "A=b\n") || !strings.Contains(string(env), "AC_APP_NAME=web\n") {
		t.Errorf("environment file %q, %v", env, err)
	}
	if strings.HasSuffix(mode, "users") {
		users, _ := m.open(m.uuid).PrivateUsers()
		r, err := parseUserRange(users)
		if err != nil || r.shift == 0 || owner(t, m.inPod(poddir.AppRootfs("web")+"/file")) != r.shift || owner(t, m.inPod(poddir.AppEnv("web"))) != r.shift {
			t.Errorf("files do not belong to the pod's root %s, %v", users, err)
		}
	}
}

// TestRemoveAppKeepsVolumes: what is mounted in an app goes, what it shows stays,
// even if stage1 has not unmounted it.
func TestRemoveAppKeepsVolumes(t *testing.T) {
	needs(t)
	ctx := context.Background()
	for _, mode := range []string{"overlay", "copy"} {
		w := newMutableWorld(t)
		m := w.sandbox(mode)
		before := m.entries()
		if err := AddApp(ctx, m.open(m.uuid), AddAppConfig{Env: w.env, App: App{Image: appID, Name: "web"}}); err != nil {
			t.Fatal(err)
		}
		precious := t.TempDir()
		put(t, precious+"/dir/file", "precious")
		m.bind(precious, poddir.AppRootfs("web")+"/etc")
		if data, err := os.ReadFile(m.inPod(poddir.AppRootfs("web") + "/etc/dir/file")); err != nil || string(data) != "precious" {
			t.Fatalf("the volume: %q, %v", data, err)
		}
		if err := RemoveApp(ctx, m.open(m.uuid), AppConfig{Env: w.env, App: "web"}); err != nil {
			t.Error(err)
		}
		if data, err := os.ReadFile(precious + "/dir/file"); err != nil || string(data) != "precious" {
			t.Errorf("%s: what the volume shows: %q, %v", mode, data, err)
		}
		if diff := cmp.Diff(before, m.entries()); diff != "" {
			t.Errorf("%s: left behind (-want +got):\n%s", mode, diff)
		}
		m.end()
	}
}

// bind mounts a directory of the host on one inside the pod, as a volume is.
func (m *mutablePod) bind(host, inside string) {
	m.t.Helper()
	in, err := openInside(context.Background(), m.open(m.uuid))
	if err != nil {
		m.t.Fatal(err)
	}
	defer in.close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, host, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		m.t.Fatal(err)
	}
	mount := os.NewFile(uintptr(tree), host)
	defer func() { _ = mount.Close() }()
	target, err := os.Open(m.inPod(inside))
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = target.Close() }()
	if err := privns.In(in.ns, in.root, func() error { return rootfs.Attach(mount, target) }); err != nil {
		m.t.Fatal(err)
	}
}

func TestTwoAppsOfOneImage(t *testing.T) {
	needs(t)
	ctx := context.Background()
	w := newMutableWorld(t)
	m := w.sandbox("overlay")
	for _, name := range []string{"a", "b"} {
		if err := AddApp(ctx, m.open(m.uuid), AddAppConfig{Env: w.env, App: App{Image: layersID, Name: name}}); err != nil {
			t.Fatal(err)
		}
		put(t, m.inPod(poddir.AppRootfs(name)+"/written"), name)
	}
	if err := RemoveApp(ctx, m.open(m.uuid), AppConfig{Env: w.env, App: "a"}); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"written": "b", "file": "top"} {
		if data, err := os.ReadFile(m.inPod(poddir.AppRootfs("b") + "/" + file)); err != nil || string(data) != want {
			t.Errorf("%s of the app that stays: %q, %v", file, data, err)
		}
	}
	m.wantState("b", pod.AppCreated)
	m.end()
	// The rest goes with the pod exited.
	if err := RemoveApp(ctx, m.open(m.uuid), AppConfig{Env: w.env, App: "b"}); err != nil {
		t.Fatal(err)
	}
	if in := m.open(m.uuid).Info(); len(in.Apps) != 0 || in.Err != nil {
		t.Errorf("%+v", in)
	}
	if _, err := os.Lstat(filepath.Join(m.path, poddir.OverlayUpper("deps-"+layersID.String(), "b"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("layer of the app: %v", err)
	}
}

func TestAppErrors(t *testing.T) {
	needs(t)
	ctx := context.Background()
	w := newMutableWorld(t)
	add := AddAppConfig{Env: w.env, App: App{Image: appID, Name: "web"}}
	web := AppConfig{Env: w.env, App: "web"}
	verbs := map[string]func(*pod.Pod) error{
		"add":   func(p *pod.Pod) error { return AddApp(ctx, p, add) },
		"start": func(p *pod.Pod) error { return StartApp(ctx, p, web) },
		"stop":  func(p *pod.Pod) error { return StopApp(ctx, p, web) },
		"rm":    func(p *pod.Pod) error { return RemoveApp(ctx, p, web) },
	}
	each := func(uuid poddir.UUID, want map[string]string) {
		t.Helper()
		for name, verb := range verbs {
			p := w.open(uuid)
			err := verb(p)
			if err == nil || err.Error() != want[name] {
				t.Errorf("%s: %v, want %q", name, err, want[name])
			}
			_ = p.Close()
		}
	}
	prepared := w.prepared(w.prepareConfig())
	notRunning := fmt.Sprintf("pod %q isn't currently running", prepared)
	each(prepared, map[string]string{"add": notRunning, "start": notRunning, "stop": notRunning, "rm": fmt.Sprintf("pod %q: immutable pod", prepared)})

	m := w.sandbox("overlay")
	const nonexistent = `error: nonexistent app "web"`
	wantText(t, verbs["start"](m.open(m.uuid)), nonexistent)
	wantText(t, verbs["stop"](m.open(m.uuid)), nonexistent)
	wantText(t, verbs["rm"](m.open(m.uuid)), nonexistent)
	for _, name := range []string{"../x", "", "A", "."} {
		err := RemoveApp(ctx, m.open(m.uuid), AppConfig{Env: w.env, App: name})
		wantText(t, err, "nonexistent app")
	}
	if err := verbs["add"](m.open(m.uuid)); err != nil {
		t.Fatal(err)
	}
	err := verbs["add"](m.open(m.uuid))
	if err == nil || err.Error() != "error: multiple apps with name web" || hint.Of(err) == "" {
		t.Errorf("a second time: %v", err)
	}
	for _, tt := range []struct {
		app  App
		want string
	}{
		{App{Image: appID, Name: "web-started"}, "its status would be a marker"},
		{App{Image: appID, Name: "x", Mounts: []appc.Mount{{Volume: "v", Path: "/v"}}}, `dangling mount point "/v": volume "v" not found`},
		{App{Image: "sha512-00", Name: "x"}, "manifest of image"},
	} {
		wantText(t, AddApp(ctx, m.open(m.uuid), AddAppConfig{Env: w.env, App: tt.app}), tt.want)
	}
	status := filepath.Join(m.inPod(poddir.SupervisorStatus))
	if err := os.Remove(status); err != nil {
		t.Fatal(err)
	}
	notReady := fmt.Sprintf("supervisor for pod %q is not yet ready", m.uuid)
	each(m.uuid, map[string]string{
		"add": notReady, "start": notReady, "stop": notReady,
		"rm": fmt.Sprintf("pod %q is running but its supervisor is not ready yet", m.uuid),
	})
	m.end()
	notRunning = fmt.Sprintf("pod %q isn't currently running", m.uuid)
	p := m.open(m.uuid)
	for _, verb := range []string{"add", "start"} {
		wantText(t, verbs[verb](p), notRunning)
	}
	if err := verbs["stop"](p); !errors.Is(err, ErrAlreadyStopped) || err.Error() != fmt.Sprintf("pod %q is already stopped", m.uuid) {
		t.Errorf("stop: %v", err)
	}
}

// TestAppImmutable: a running pod that "run" made takes no apps.
func TestAppImmutable(t *testing.T) {
	needs(t)
	ctx := context.Background()
	w := newMutableWorld(t)
	uuid := w.prepared(w.prepareConfig())
	run := w.command("run-prepared", uuid.String())
	run.Env = append(run.Env, "STUB_WAIT=1")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	w.awaitPID(uuid)
	web := AppConfig{Env: w.env, App: "web"}
	for _, err := range []error{
		AddApp(ctx, w.open(uuid), AddAppConfig{Env: w.env, App: App{Image: appID}}),
		StartApp(ctx, w.open(uuid), web), StopApp(ctx, w.open(uuid), web), RemoveApp(ctx, w.open(uuid), web),
	} {
		if !errors.Is(err, ErrImmutable) {
			t.Error(err)
		}
	}
	if err := Stop(ctx, w.open(uuid), StopConfig{Env: w.env}); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait()
}

// TestAddAppUndone: stage1 refuses the app, and nothing of it stays.
func TestAddAppUndone(t *testing.T) {
	needs(t)
	ctx := context.Background()
	w := newMutableWorld(t)
	m := w.sandbox("overlay")
	before, raw := m.entries(), m.rawManifest()
	add := AddAppConfig{Env: w.env, App: App{Image: appID, Name: "web"}}
	m.stubExits("app_add", "254")
	err := AddApp(ctx, m.open(m.uuid), add)
	wantText(t, err, `app "web": error executing stage1 entrypoint: exit status 254: the stub [31m fails; on purpose`)
	if diff := cmp.Diff(before, m.entries()); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
	if after := m.rawManifest(); after != raw {
		t.Errorf("manifest %s, was %s", after, raw)
	}
	m.stubWorks("app_add")
	if err := AddApp(ctx, m.open(m.uuid), add); err != nil {
		t.Fatal(err)
	}
	// A start that fails leaves the app as it was.
	m.stubExits("app_start", "1")
	wantText(t, StartApp(ctx, m.open(m.uuid), AppConfig{Env: w.env, App: "web"}), "error executing stage1 entrypoint: exit status 1")
	m.wantState("web", pod.AppCreated)
	// An app that cannot be stopped is not removed.
	m.stubExits("app_stop", "1")
	wantText(t, RemoveApp(ctx, m.open(m.uuid), AppConfig{Env: w.env, App: "web"}), "error executing stage1 entrypoint: exit status 1")
	m.wantState("web", pod.AppCreated)
	m.end()
}

func (m *mutablePod) rawManifest() string {
	m.t.Helper()
	raw, err := m.open(m.uuid).RawManifest()
	if err != nil {
		m.t.Fatal(err)
	}
	return string(raw)
}

// TestAddAppCancelled: who is interrupted cleans up all the same.
func TestAddAppCancelled(t *testing.T) {
	needs(t)
	w := newMutableWorld(t)
	m := w.sandbox("overlay")
	before := m.entries()
	ctx, cancel := context.WithCancel(context.Background())
	env := w.env
	env.Trees = cancelling{w.store, cancel}
	err := AddApp(ctx, m.open(m.uuid), AddAppConfig{Env: env, App: App{Image: appID, Name: "web"}})
	if err == nil {
		t.Error("added")
	}
	if diff := cmp.Diff(before, m.entries()); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
	m.end()
}

// cancelling ends the context when a tree is asked for.
type cancelling struct {
	fakeStore
	cancel context.CancelFunc
}

func (c cancelling) Get(ctx context.Context, id string) (treestore.Tree, error) {
	c.cancel()
	return c.fakeStore.Get(ctx, id)
}

// TestAddAppTakesNoForeignRoot: the process in the PID file is not in the pod.
func TestAddAppTakesNoForeignRoot(t *testing.T) {
	needs(t)
	ctx := context.Background()
	for _, mode := range []string{"overlay", "copy"} {
		w := newMutableWorld(t)
		m := w.sandbox(mode)
		path := filepath.Join(m.path, poddir.PID)
		pid, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range []int{os.Getpid(), m.cmd.Process.Pid} {
			put(t, path, fmt.Sprint(wrong))
			err := AddApp(ctx, m.open(m.uuid), AddAppConfig{Env: w.env, App: App{Image: appID, Name: "web"}})
			if !errors.Is(err, errForeignRoot) {
				t.Errorf("%s: with the root of process %d: %v", mode, wrong, err)
			}
		}
		put(t, path, string(pid))
		m.end()
	}
	if _, err := os.Lstat("/" + poddir.AppDir("web")); err == nil {
		t.Error("something was made on the host")
	}
}

func TestPrivateVolumes(t *testing.T) {
	needs(t)
	ctx := context.Background()
	w := newMutableWorld(t)
	m := w.sandbox("overlay")
	for _, name := range []string{"a", "b"} {
		app := App{Image: appID, Name: name, Mounts: []appc.Mount{{Volume: "v", Path: "/v", AppVolume: &appc.Volume{Name: "v", Kind: appc.EmptyVolume}}}}
		if err := AddApp(ctx, m.open(m.uuid), AddAppConfig{Env: w.env, App: app}); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(m.path, poddir.SharedVolumes, name+"-v", "file"), "")
	}
	a := m.app("a")
	want := []pod.AppMount{{Name: "v", ContainerPath: "/v", HostPath: filepath.Join(m.path, "sharedVolumes/a-v")}}
	if diff := cmp.Diff(want, a.Mounts); diff != "" {
		t.Error(diff)
	}
	if err := RemoveApp(ctx, m.open(m.uuid), AppConfig{Env: w.env, App: "a"}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(m.path, poddir.SharedVolumes))
	if err != nil || len(entries) != 1 || entries[0].Name() != "b-v" {
		t.Errorf("%v, %v", entries, err)
	}
	m.end()
}

// TestAppsAtOnce: many come and go at the same time, and of several of one name
// one comes.
func TestAppsAtOnce(t *testing.T) {
	needs(t)
	ctx := context.Background()
	w := newMutableWorld(t)
	m := w.sandbox("overlay")
	before := m.entries()
	each := func(verb func(p *pod.Pod, i int) error) []error {
		errs := make([]error, 6)
		var wg sync.WaitGroup
		for i := range errs {
			p := m.open(m.uuid)
			wg.Go(func() { errs[i] = verb(p, i) })
		}
		wg.Wait()
		return errs
	}
	name := func(i int) string { return fmt.Sprintf("app-%d", i) }
	for _, err := range each(func(p *pod.Pod, i int) error {
		return AddApp(ctx, p, AddAppConfig{Env: w.env, App: App{Image: appID, Name: name(i)}})
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	if in := m.open(m.uuid).Info(); len(in.Apps) != 6 {
		t.Errorf("%d apps", len(in.Apps))
	}
	won := 0
	for _, err := range each(func(p *pod.Pod, _ int) error {
		return AddApp(ctx, p, AddAppConfig{Env: w.env, App: App{Image: layersID, Name: "same"}})
	}) {
		if err == nil {
			won++
		} else {
			wantText(t, err, "error: multiple apps with name same")
		}
	}
	if won != 1 {
		t.Errorf("%d of one name came", won)
	}
	for _, err := range append(each(func(p *pod.Pod, i int) error {
		return RemoveApp(ctx, p, AppConfig{Env: w.env, App: name(i)})
	}), RemoveApp(ctx, m.open(m.uuid), AppConfig{Env: w.env, App: "same"})) {
		if err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(before, m.entries()); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
	m.end()
}
