// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/store/treestore"
)

// The test binary is also the stub stage1, under the names of its
// entrypoints, and the rkt process that a test starts, by RKT_TEST_VERB.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "run", "gc", "stop", "enter":
		os.Exit(stub(filepath.Base(os.Args[0])))
	case "podinit", "app_add", "app_rm", "app_start", "app_stop", "attach":
		os.Exit(mutableStub(filepath.Base(os.Args[0])))
	}
	if verb := os.Getenv("RKT_TEST_VERB"); verb != "" {
		if err := child(verb); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(254)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// stubReport is what the stub stage1 saw.
type stubReport struct {
	Args      []string
	Env       []string
	FDs       map[int]string
	Mounts    string // its mount table
	AppFile   string // content of a file of the app's image
	Mtab      string
	HasStage1 bool // the stage1 tree is where entrypoints expect it
	Owners    map[string]string
}

// owners lists who owns what below a directory, as UID:GID.
func owners(dir string) map[string]string {
	out := map[string]string{}
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			rel, _ := filepath.Rel(dir, path)
			out[rel] = fmt.Sprintf("%d:%d", st.Uid, st.Gid)
		}
		return nil
	})
	return out
}

func stub(name string) int {
	report := stubReport{Args: os.Args, Env: os.Environ(), FDs: openFDs()}
	mounts, _ := os.ReadFile("/proc/thread-self/mountinfo")
	report.Mounts = string(mounts)
	app := filepath.Join(poddir.Stage1Rootfs, poddir.AppRootfs("app"))
	data, _ := os.ReadFile(filepath.Join(app, "file"))
	report.AppFile = string(data)
	report.Mtab, _ = os.Readlink(filepath.Join(app, "etc/mtab"))
	_, err := os.Lstat(filepath.Join(poddir.Stage1Rootfs, "run"))
	report.HasStage1 = err == nil
	report.Owners = owners(poddir.Stage1Rootfs)
	if file := os.Getenv("STUB_REPORT"); file != "" {
		out, _ := json.Marshal(report)
		if err := os.WriteFile(file+"."+name, out, 0o644); err != nil {
			return 99
		}
	}
	switch name {
	case "run":
		return stubRun(app)
	case "stop":
		return stubStop()
	}
	code, _ := strconv.Atoi(os.Getenv("STUB_EXIT_" + strings.ToUpper(name)))
	return code
}

func stubRun(app string) int {
	fd, err := strconv.Atoi(os.Getenv(entrypoint.EnvLockFD))
	if err != nil {
		return 98
	}
	// Nothing else holds the lock: it is really the inherited one.
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return 97
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, unix.SIGTERM)
	if slices.Contains(os.Args, "--mutable") {
		return runMutable(fd, terminated)
	}
	write := func(path, data string) {
		var st unix.Stat_t // the owner of the tree is root of the pod
		_ = unix.Stat(filepath.Dir(path), &st)
		if err := idmap.WithRoot(st.Uid, func() error { return os.WriteFile(path, []byte(data), 0o644) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	write(filepath.Join(app, "written"), "by the app")
	_ = os.Chmod(filepath.Join(app, "etc", "kept"), 0o600)
	_ = os.Remove(filepath.Join(app, "etc", "removed"))
	write(filepath.Join(poddir.Stage1Rootfs, poddir.AppStatus("app")), os.Getenv("STUB_EXIT_RUN")+"\n")
	write(poddir.PID, strconv.Itoa(os.Getpid())+"\n")
	if os.Getenv("STUB_WAIT") != "" {
		<-terminated
		return 0
	}
	code, _ := strconv.Atoi(os.Getenv("STUB_EXIT_RUN"))
	return code
}

func stubStop() int {
	data, err := os.ReadFile(poddir.PID)
	if err != nil {
		return 1
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || unix.Kill(pid, unix.SIGTERM) != nil {
		return 1
	}
	return 0
}

// openFDs are the inherited descriptors: this program's own are close-on-exec.
func openFDs() map[int]string {
	out := map[int]string{}
	for fd := range 100 {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		out[fd], _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	}
	return out
}

// fakeStore is an image store and a tree store in one, below one directory:
// ID/manifest, and ID/rootfs, ID/layer1, … from the top of the stack downwards.
type fakeStore struct{ dir string }

func (s fakeStore) Resolve(prefix string) (appc.ImageID, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			return appc.ImageID(e.Name()), nil
		}
	}
	return "", errors.New("no image IDs found")
}

func (s fakeStore) Manifest(id appc.ImageID) (*appc.ImageManifest, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, id.String(), "manifest"))
	if err != nil {
		return nil, err
	}
	return appc.ParseImageManifest(data)
}

func (s fakeStore) Render(ctx context.Context, key appc.ImageID) (treestore.Tree, error) {
	return s.Get(ctx, "deps-"+key.String())
}

func (s fakeStore) Get(_ context.Context, id string) (treestore.Tree, error) {
	dir := filepath.Join(s.dir, strings.TrimPrefix(id, "deps-"))
	t := treestore.Tree{ID: id, Lowers: []string{filepath.Join(dir, "rootfs")}}
	if _, err := os.Stat(t.Lowers[0]); err != nil {
		return t, err
	}
	for i := 1; ; i++ {
		layer := filepath.Join(dir, fmt.Sprintf("layer%d", i))
		if _, err := os.Stat(layer); err != nil {
			return t, nil
		}
		t.Lowers = append(t.Lowers, layer)
	}
}

func (s fakeStore) CopyTo(_ context.Context, t treestore.Tree, dst string, shift, _ uint32) error {
	for i := len(t.Lowers) - 1; i >= 0; i-- {
		if out, err := exec.Command("cp", "-a", t.Lowers[i]+"/.", dst).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
	}
	return exec.Command("chown", "-hR", fmt.Sprintf("%d:%d", shift, shift), dst).Run()
}

func (s fakeStore) CheckOwners(_ context.Context, t treestore.Tree, count uint32) error {
	for _, l := range t.Lowers {
		err := filepath.WalkDir(l, func(path string, _ fs.DirEntry, err error) error {
			var st unix.Stat_t
			if err := errors.Join(err, unix.Lstat(path, &st)); err != nil {
				return err
			}
			if st.Uid >= count || st.Gid >= count {
				return fmt.Errorf("%q: uid %d or gid %d are out of range %d", path, st.Uid, st.Gid, count)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	stage1ID = appc.ImageID("sha512-1111111111111111111111111111111111111111111111111111111111111111")
	appID    = appc.ImageID("sha512-2222222222222222222222222222222222222222222222222222222222222222")
	// oldStage1ID is a stage1 image of an interface version, and from a time, when
	// nothing was mapped.
	oldStage1ID = appc.ImageID("sha512-4444444444444444444444444444444444444444444444444444444444444444")

	layersID = appc.ImageID("sha512-3333333333333333333333333333333333333333333333333333333333333333")
)

// world is a data directory with a store that has a stub stage1 and two images.
type world struct {
	t      testing.TB
	dir    string
	store  fakeStore
	env    Env
	stdout bytes.Buffer

	opened []*pod.Pod

	mu   sync.Mutex
	said []string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	base := t.TempDir()
	w := &world{t: t, dir: filepath.Join(base, "data"), store: fakeStore{filepath.Join(base, "store")}}
	w.image(stage1ID, "example.com/stage1", `"annotations":[
		{"name":"coreos.com/rkt/stage1/run","value":"/run"},{"name":"coreos.com/rkt/stage1/enter","value":"/enter"},
		{"name":"coreos.com/rkt/stage1/gc","value":"/gc"},{"name":"coreos.com/rkt/stage1/stop","value":"/stop"},
		{"name":"coreos.com/rkt/stage1/maps-users","value":"true"},
		{"name":"coreos.com/rkt/stage1/interface-version","value":"6"}]`)
	w.image(oldStage1ID, "example.com/stage1", `"annotations":[{"name":"coreos.com/rkt/stage1/run","value":"/run"}]`)
	const app = `"app":{"exec":["/bin/app"],"user":"0","group":"0"}`
	w.image(appID, "example.com/app", app)
	w.image(layersID, "example.com/layers", app)
	w.installStub()
	w.write(appID, "rootfs/file", "content")
	w.write(appID, "rootfs/etc/removed", "")
	w.write(appID, "rootfs/etc/kept", "")
	w.write(layersID, "rootfs/file", "top")
	w.write(layersID, "layer1/file", "bottom")
	w.write(layersID, "layer1/etc/removed", "")
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.env = w.newEnv()
	w.env.Stdout, w.env.Stderr = &w.stdout, os.Stderr
	w.env.Say = func(s string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.said = append(w.said, s)
	}
	return w
}

func (w *world) newEnv() Env { return Env{DataDir: w.dir, Images: w.store, Trees: w.store} }

func (w *world) image(id appc.ImageID, name, more string) {
	w.write(id, "manifest", `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"`+name+
		`","labels":[{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}],`+more+`}`)
}

func (w *world) write(id appc.ImageID, rel, data string) {
	w.t.Helper()
	put(w.t, filepath.Join(w.store.dir, id.String(), rel), data)
}

// installStub links the test binary into the stage1 tree, once for all names.
func (w *world) installStub() {
	w.t.Helper()
	root := filepath.Join(w.store.dir, stage1ID.String(), "rootfs")
	if err := os.MkdirAll(filepath.Join(root, poddir.StatusDir), 0o755); err != nil {
		w.t.Fatal(err)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = self.Close() }()
	f, err := os.OpenFile(filepath.Join(root, "init"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.Copy(f, self); err != nil {
		w.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		w.t.Fatal(err)
	}
	for _, name := range []string{"run", "gc", "stop", "enter"} {
		// Absolute: resolved inside the tree, not on the host.
		if err := os.Symlink("/init", filepath.Join(root, name)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) prepareConfig() PrepareConfig {
	return PrepareConfig{Env: w.env, Version: "2.0.0-dev", Stage1: stage1ID, Apps: []App{{Image: appID}}}
}

// prepared makes a prepared pod.
func (w *world) prepared(c PrepareConfig) poddir.UUID {
	w.t.Helper()
	p, err := Prepare(context.Background(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if err := p.ToPrepared(); err != nil {
		w.t.Fatal(err)
	}
	return p.UUID()
}

// exited makes a pod, runs it to its end and returns it.
func (w *world) exited(c PrepareConfig) poddir.UUID {
	w.t.Helper()
	uuid := w.prepared(c)
	cmd := w.command("run-prepared", uuid.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("run: %v\n%s", err, out)
	}
	return uuid
}

func (w *world) open(uuid poddir.UUID) *pod.Pod {
	w.t.Helper()
	p, err := pod.Open(context.Background(), w.dir, uuid)
	if err != nil {
		w.t.Fatal(err)
	}
	w.opened = append(w.opened, p)
	w.t.Cleanup(func() { _ = p.Close() })
	return p
}

// messages returns what was said since the last call.
func (w *world) messages() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.said, "\n")
	w.said = nil
	return s
}

// command is a rkt process that does a verb.
func (w *world) command(verb string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"rkt"}, args...)
	cmd.Env = append(os.Environ(), "RKT_TEST_VERB="+verb, "RKT_TEST_DATA="+w.dir, "RKT_TEST_STORE="+w.store.dir)
	return cmd
}

// child is the other side of world.command.
func child(verb string) error {
	ctx := context.Background()
	store := fakeStore{os.Getenv("RKT_TEST_STORE")}
	env := Env{
		DataDir: os.Getenv("RKT_TEST_DATA"), Images: store, Trees: store,
		Stdout: os.Stdout, Stderr: os.Stderr,
		Say: func(s string) { fmt.Fprintln(os.Stderr, s) },
	}
	if err := os.Unsetenv("RKT_TEST_VERB"); err != nil { // stage1 is this binary as well
		return err
	}
	if verb == "gc" {
		return GC(ctx, GCConfig{CollectConfig: CollectConfig{Env: env}})
	}
	if verb == "sandbox" {
		return sandbox(ctx, env)
	}
	if verb == "run" || verb == "prepare" {
		p, err := Prepare(ctx, PrepareConfig{Env: env, Version: "2.0.0-dev", Stage1: stage1ID, Apps: []App{{Image: appID}}, NoOverlay: os.Getenv("RKT_TEST_COPY") != "", PrivateUsers: os.Getenv("RKT_TEST_USERS") != ""})
		if err != nil {
			return err
		}
		if verb == "prepare" {
			return p.ToPrepared()
		}
		return Run(ctx, p, RunConfig{Env: env, Environ: os.Environ()})
	}
	uuid, err := poddir.ParseUUID(os.Args[1])
	if err != nil {
		return err
	}
	p, err := pod.Open(ctx, env.DataDir, uuid)
	if err != nil {
		return err
	}
	switch verb {
	case "run-prepared":
		return Run(ctx, p, RunConfig{Env: env, Environ: os.Environ(), Hostname: os.Getenv("STUB_HOSTNAME"), DNS: childDNS()})
	case "enter":
		return Enter(ctx, p, EnterConfig{Env: env, Cmd: os.Args[2:], Environ: os.Environ()})
	case "app-add", "app-rm", "app-start", "app-stop":
		return appVerb(ctx, verb, p, env, os.Args[2])
	case "rm":
		return Remove(ctx, p, CollectConfig{Env: env})
	case "hold":
		if err := p.Lock().Try(lock.Exclusive); err != nil {
			return err
		}
		fmt.Println("held")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	return fmt.Errorf("unknown verb %q", verb)
}

// childDNS makes stage0 write its DNS files if STUB_DNS is set.
func childDNS() DNS {
	if os.Getenv("STUB_DNS") == "" {
		return DNS{}
	}
	return DNS{ResolvMode: entrypoint.ModeStage0, Servers: []string{"192.0.2.1"}, HostsMode: entrypoint.ModeStage0}
}

func put(t testing.TB, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wantEmpty checks that no pod and nothing of one is left in the data directory.
func (w *world) wantEmpty() {
	w.t.Helper()
	for _, dir := range append(podDirs(), poddir.Tmp) {
		entries, err := os.ReadDir(filepath.Join(w.dir, dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			w.t.Error(err)
		}
		for _, e := range entries {
			w.t.Errorf("left behind: %s/%s", dir, e.Name())
		}
	}
	w.wantNoMounts()
}

func podDirs() []string {
	var out []string
	for _, d := range poddir.StateDirs() {
		out = append(out, filepath.Join(poddir.Pods, d))
	}
	return out
}

func (w *world) wantNoMounts() {
	w.t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		w.t.Fatal(err)
	}
	if strings.Contains(string(mounts), w.dir) {
		w.t.Errorf("mounts below %s in the host's table", w.dir)
	}
}

func owner(t testing.TB, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid
}

// awaitLimit bounds every wait of a test for another process.
const awaitLimit = time.Minute
