// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// The stub's supervisor has no memory: what it knows of an app are the files
// "known" and "runs" in <pod>/stub/<app>. A file <pod>/stub/exit.<program> makes
// a program fail with the status in it.
const stubDir = "stub"

func stubFile(app, name string) string { return filepath.Join(stubDir, app, name) }

// mutableStub is what a stage1 for mutable pods has more.
func mutableStub(name string) int {
	if name == "podinit" {
		return stubInit()
	}
	if name == "attach" {
		return stubAttach()
	}
	call, err := entrypoint.ParseApp(os.Args)
	if err != nil {
		return 99
	}
	vars, err := entrypoint.ParseCrossingVars(os.Getenv)
	if err != nil {
		return 98
	}
	root := fmt.Sprintf("/proc/%d/root", vars.EnterPID)
	data, _ := os.ReadFile(filepath.Join(root, poddir.AppRootfs(call.App), "file"))
	if code := stubReports(name, string(data)); code != 0 {
		return code
	}
	switch name {
	case "app_add":
		return stubAdd(call.App)
	case "app_start":
		return stubStart(call.App)
	case "app_stop":
		return stubStopApp(root, call.App)
	}
	_ = os.RemoveAll(filepath.Join(stubDir, call.App))
	return 0
}

// ownerOf is the host's ID of the pod's root.
func ownerOf(path string) uint32 {
	var st unix.Stat_t
	_ = unix.Stat(path, &st)
	return st.Uid
}

// stubInit is the first process of a pod.
func stubInit() int {
	if err := unix.Chroot(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("in the pod")
	for {
		_ = unix.Pause()
	}
}

// stubReports writes down how a program was called and says how it ends.
func stubReports(name, file string) int {
	out, _ := json.Marshal(stubReport{Args: os.Args, Env: os.Environ(), FDs: openFDs(), AppFile: file})
	if os.MkdirAll(stubDir, 0o755) != nil || os.WriteFile(filepath.Join(stubDir, "report."+name), out, 0o644) != nil {
		return 97
	}
	data, err := os.ReadFile(filepath.Join(stubDir, "exit."+name))
	if err != nil {
		return 0
	}
	fmt.Println("the stub\x1b[31m fails")
	fmt.Fprintln(os.Stderr, "on purpose")
	code, _ := strconv.Atoi(string(data))
	return code
}

func stubAdd(app string) int {
	if os.MkdirAll(filepath.Join(stubDir, app), 0o755) != nil || os.WriteFile(stubFile(app, "known"), nil, 0o644) != nil {
		return 1
	}
	return 0
}

func stubStart(app string) int {
	if _, err := os.Stat(stubFile(app, "known")); err != nil {
		return entrypoint.StatusNoUnit
	}
	if os.WriteFile(stubFile(app, "runs"), nil, 0o644) != nil {
		return 1
	}
	return 0
}

func stubStopApp(root, app string) int {
	if os.Remove(stubFile(app, "runs")) != nil {
		return entrypoint.StatusNoUnit
	}
	record := poddir.AppExit{Signal: 15}
	if err := idmap.WithRoot(ownerOf(root), func() error {
		return errors.Join(os.WriteFile(filepath.Join(root, poddir.AppExitFile(app)), record.Marshal(), 0o644),
			os.WriteFile(filepath.Join(root, poddir.AppStatus(app)), []byte("15\n"), 0o644))
	}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func stubAttach() int {
	call, err := entrypoint.ParseAttach(os.Args)
	if err != nil {
		return 99
	}
	if code := stubReports("attach", ""); code != 0 {
		return code
	}
	fmt.Println("attached to", call.App)
	return 0
}

// runMutable is the supervisor of a pod: its first process has stage1 as root.
func runMutable(lockFD int, terminated chan os.Signal) int {
	runtime.LockOSThread() // for Pdeathsig
	unix.CloseOnExec(lockFD)
	root, err := filepath.Abs(poddir.Stage1Rootfs)
	if err != nil {
		return 96
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"podinit", root}
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 95
	}
	defer func() { _ = cmd.Process.Kill() }()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		return 93
	}
	err = errors.Join(
		os.WriteFile(poddir.PID, []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o644),
		idmap.WithRoot(ownerOf(root), func() error {
			return os.Symlink(poddir.SupervisorReady, filepath.Join(root, poddir.SupervisorStatus))
		}),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 94
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-terminated:
	case <-ended:
	}
	return 0
}

// sandbox is the verb of "app sandbox", and appVerb are those on its apps.
func sandbox(ctx context.Context, env Env) error {
	p, err := Prepare(ctx, PrepareConfig{
		Env: env, Version: "2.0.0-dev", Stage1: stage1ID, Mutable: true,
		NoOverlay: os.Getenv("RKT_TEST_COPY") != "", PrivateUsers: os.Getenv("RKT_TEST_USERS") != "",
		UUIDFileSave: os.Getenv("RKT_TEST_UUID"),
	})
	if err != nil {
		return err
	}
	signal.Reset()
	return Run(ctx, p, RunConfig{Env: env, Environ: os.Environ()})
}

func appVerb(ctx context.Context, verb string, p *pod.Pod, env Env, app string) error {
	switch verb {
	case "app-add":
		return AddApp(ctx, p, AddAppConfig{Env: env, App: App{Image: appID, Name: app}})
	case "app-rm":
		return RemoveApp(ctx, p, AppConfig{Env: env, App: app})
	case "app-start":
		return StartApp(ctx, p, AppConfig{Env: env, App: app})
	}
	return StopApp(ctx, p, AppConfig{Env: env, App: app})
}

// newMutableWorld is a world whose stage1 can do mutable pods.
func newMutableWorld(t testing.TB) *world {
	w := newWorld(t)
	var more strings.Builder
	for annotation, path := range map[string]string{
		entrypoint.AnnotationAppAdd: "/app_add", entrypoint.AnnotationAppRm: "/app_rm", entrypoint.AnnotationAppStart: "/app_start",
		entrypoint.AnnotationAppStop: "/app_stop", entrypoint.AnnotationAttach: "/attach",
	} {
		fmt.Fprintf(&more, `{"name":%q,"value":%q},`, annotation, path)
		if err := os.Symlink("init", filepath.Join(w.store.dir, stage1ID.String(), "rootfs", path)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(w.store.dir, stage1ID.String(), "manifest")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, strings.Replace(string(data), `"annotations":[`, `"annotations":[`+more.String(), 1))
	return w
}

// mutablePod is a mutable pod that runs.
type mutablePod struct {
	*world
	uuid poddir.UUID
	path string
	cmd  *exec.Cmd
}

// sandbox starts a mutable pod and waits until it is ready; mode is overlay,
// copy or users.
func (w *world) sandbox(mode string) *mutablePod {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "uuid")
	cmd := w.command("sandbox")
	cmd.Env = append(cmd.Env, "RKT_TEST_UUID="+file)
	switch mode {
	case "copy":
		cmd.Env = append(cmd.Env, "RKT_TEST_COPY=1")
	case "users":
		cmd.Env = append(cmd.Env, "RKT_TEST_USERS=1")
	case "copied-users":
		cmd.Env = append(cmd.Env, "RKT_TEST_USERS=1", "RKT_TEST_COPY=1")
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	m := &mutablePod{world: w, cmd: cmd}
	w.t.Cleanup(func() {
		if m.cmd.ProcessState == nil {
			_ = m.cmd.Process.Kill()
			_ = m.cmd.Wait()
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), awaitLimit)
	defer cancel()
	for ctx.Err() == nil && cmd.ProcessState == nil {
		data, err := os.ReadFile(file)
		if err == nil && len(data) == 36 {
			m.uuid = poddir.UUID(data)
			break
		}
	}
	m.path = filepath.Join(w.dir, poddir.Pods, poddir.Run, m.uuid.String())
	if err := w.open(m.uuid).WaitReady(ctx); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// end stops the pod.
func (m *mutablePod) end() {
	m.t.Helper()
	if err := Stop(context.Background(), m.open(m.uuid), StopConfig{Env: m.env}); err != nil {
		m.t.Fatal(err)
	}
	if err := m.cmd.Wait(); err != nil {
		m.t.Error(err)
	}
}

// app is what is known of an app of the pod, the zero value if nothing is.
func (m *mutablePod) app(name string) pod.AppInfo {
	m.t.Helper()
	in := m.open(m.uuid).Info()
	if in.Err != nil {
		m.t.Error(in.Err)
	}
	for _, a := range in.Apps {
		if a.Name == name {
			return a
		}
	}
	return pod.AppInfo{}
}

func (m *mutablePod) wantState(name string, want pod.AppState) {
	m.t.Helper()
	if got := m.app(name).State; got != want {
		m.t.Errorf("app %s is %q, want %q", name, got, want)
	}
}

// entries lists what there is in the pod directory, and what is mounted inside
// the pod, beside the stub's own files.
func (m *mutablePod) entries() string {
	m.t.Helper()
	var out []string
	err := filepath.WalkDir(m.path, func(path string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(m.path, path)
		switch {
		case err != nil:
			return err
		case rel == stubDir:
			return fs.SkipDir
		}
		out = append(out, rel)
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	pid, err := m.open(m.uuid).PID()
	if err != nil {
		m.t.Fatal(err)
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		m.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); strings.Contains(f[4], "stage2") {
			out = append(out, "mount "+f[4])
		}
	}
	return strings.Join(slices.DeleteFunc(out, isParent), "\n")
}

// isParent tells whether a directory comes with the first app and stays: real
// images have it.
func isParent(rel string) bool {
	for _, dir := range []string{"opt", poddir.Stage2, poddir.EnvDir} {
		if strings.HasSuffix(rel, "/upper/"+dir) || rel == filepath.Join(poddir.Stage1Rootfs, dir) {
			return true
		}
	}
	return false
}

// inPod is a path inside the running pod as this process sees it.
func (m *mutablePod) inPod(rel string) string {
	m.t.Helper()
	pid, err := m.open(m.uuid).PID()
	if err != nil {
		m.t.Fatal(err)
	}
	return filepath.Join(fmt.Sprintf("/proc/%d/root", pid), rel)
}

func (m *mutablePod) stubExits(program, status string) {
	m.t.Helper()
	put(m.t, filepath.Join(m.path, stubDir, "exit."+program), status)
}

func (m *mutablePod) stubWorks(program string) {
	m.t.Helper()
	if err := os.Remove(filepath.Join(m.path, stubDir, "exit."+program)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mutablePod) report(program string) stubReport {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.path, stubDir, "report."+program))
	if err != nil {
		m.t.Fatal(err)
	}
	var r stubReport
	if err := json.Unmarshal(data, &r); err != nil {
		m.t.Fatal(err)
	}
	return r
}
