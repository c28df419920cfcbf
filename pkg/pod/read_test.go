// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

func TestInfo(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.ExitedGarbage, uuidA)
	when := time.Unix(1700000000, 0)
	for _, f := range []string{poddir.Created, poddir.PID, poddir.OverlayUpper(tree1, "") + "/" + poddir.AppStatus("app")} {
		if err := os.Chtimes(filepath.Join(path, f), when, when); err != nil {
			t.Fatal(err)
		}
	}
	p := mustOpen(t, data, uuidA)
	in := p.Info()
	if in.Err != nil {
		t.Fatal(in.Err)
	}
	if in.Marked.IsZero() {
		t.Error("no mark time")
	}
	in.Marked = time.Time{}
	code := 3
	want := Info{
		UUID: uuidA, State: ExitedGarbage, Created: when, Started: when, PID: 12,
		Networks:        []Network{{Name: "default", IP: "172.16.28.7"}},
		UserAnnotations: map[string]string{"pod": "yes"},
		Apps: []AppInfo{{
			Name: "app", State: AppExited, ImageID: appID, ImageName: "example.com/app", ImageVersion: "1.2",
			Created: when, Started: when, Finished: when, ExitCode: &code,
			Mounts: []AppMount{
				{Name: "v", ContainerPath: "/vv", HostPath: "/srv", ReadOnly: true},
				{Name: "data", ContainerPath: "/data", HostPath: path + "/sharedVolumes/data", ReadOnly: true},
			},
			UserLabels: map[string]string{"l": "m"},
		}},
	}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestInfoExitRecord: stage1's record is more exact than the status file, and
// counts only beside it.
func TestInfoExitRecord(t *testing.T) {
	started, finished := time.Unix(1700000000, 1), time.Unix(1700000001, 2)
	record := poddir.AppExit{Signal: 9, CoreDumped: true, OOMKilled: true, StartedAt: started, FinishedAt: finished}.Marshal()
	for _, tt := range []struct {
		name, record string
		status       bool
		want         bool
	}{
		{"recorded", string(record), true, true},
		{"broken", "{", true, false},
		{"no status", string(record), false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := t.TempDir()
			path := makePod(t, data, poddir.Run, uuidA)
			upper := filepath.Join(path, poddir.OverlayUpper(tree1, ""))
			put(t, filepath.Join(upper, poddir.AppExitFile("app")), tt.record)
			if !tt.status {
				if err := os.Remove(filepath.Join(upper, poddir.AppStatus("app"))); err != nil {
					t.Fatal(err)
				}
			}
			in := mustOpen(t, data, uuidA).Info()
			if in.Err != nil {
				t.Fatal(in.Err)
			}
			a := in.Apps[0]
			got := a.Signal == 9 && a.CoreDumped && a.OOMKilled && a.Started.Equal(started) && a.Finished.Equal(finished)
			if got != tt.want || !tt.want && (a.Signal != 0 || a.OOMKilled) {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestListTable: what a table shows, and no more, from fewer files.
func TestListTable(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.Run, uuidA)
	broken := makePod(t, data, poddir.Run, uuidB)
	put(t, filepath.Join(broken, poddir.PodManifest), `{"apps":[{"name":5}]}`)
	if err := os.RemoveAll(filepath.Join(path, poddir.Overlay)); err != nil {
		t.Fatal(err)
	}
	l, err := List(context.Background(), data, ListedDirs(), Table)
	if err != nil {
		t.Fatal(err)
	}
	want := []AppInfo{{Name: "app", ImageID: appID, ImageName: "example.com/app", ImageVersion: "1.2"}}
	if diff := cmp.Diff(want, l.Pods[0].Apps); diff != "" || l.Pods[0].Err != nil {
		t.Errorf("%v (-want +got):\n%s", l.Pods[0].Err, diff)
	}
	if l.Pods[1].Err == nil || !strings.Contains(l.Pods[1].Err.Error(), "apps") {
		t.Errorf("broken manifest: %v", l.Pods[1].Err)
	}
}

func TestInfoOfUserWrittenManifest(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.Prepared, uuidA)
	put(t, filepath.Join(path, poddir.PodManifest),
		"{\n \"acKind\": \"PodManifest\", \"acVersion\": \"0.8.11\",\n \"apps\": [ {\"name\": \"app\", \"image\": {\"id\": \"sha512-00\"}} ]\n}\n")
	in := mustOpen(t, data, uuidA).Info()
	if in.Err != nil {
		t.Fatal(in.Err)
	}
	if len(in.Apps) != 1 || in.Apps[0].ImageID != "sha512-00" || in.Apps[0].ImageName != "example.com/app" || in.Apps[0].State != AppCreated {
		t.Errorf("apps %+v", in.Apps)
	}
}

func TestMutableAppStates(t *testing.T) {
	status := func(s string) string { return poddir.OverlayUpper(tree1, "") + "/" + s }
	tests := []struct {
		name  string
		files map[string]string
		want  AppState
		code  int
	}{
		{"nothing", nil, AppUnknown, -1},
		{"created", map[string]string{status(poddir.AppCreated("app")): ""}, AppCreated, -1},
		{"started", map[string]string{status(poddir.AppCreated("app")): "", status(poddir.AppStarted("app")): ""}, AppRunning, -1},
		{"ended", map[string]string{status(poddir.AppCreated("app")): "", status(poddir.AppStatus("app")): "5\n"}, AppExited, 5},
		{"unreadable status", map[string]string{status(poddir.AppCreated("app")): "", status(poddir.AppStatus("app")): "x"}, AppExited, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := t.TempDir()
			path := makePod(t, data, poddir.Run, uuidA)
			if err := os.RemoveAll(filepath.Join(path, poddir.Overlay)); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(path, poddir.PodManifest), strings.Replace(testManifest, `"value":"false"`, `"value":"true"`, 1))
			for f, content := range tt.files {
				put(t, filepath.Join(path, f), content)
			}
			startHolder(t, path)
			in := mustOpen(t, data, uuidA).Info()
			code := -1
			if c := in.Apps[0].ExitCode; c != nil {
				code = *c
			}
			if in.State != Running || in.Apps[0].State != tt.want || code != tt.code {
				t.Errorf("pod %s, app %s, code %d; want app %s, code %d", in.State, in.Apps[0].State, code, tt.want, tt.code)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	ctx := context.Background()
	data := t.TempDir()
	makePod(t, data, poddir.Run, uuidA)
	makePod(t, data, poddir.Prepared, uuidB)
	makePod(t, data, poddir.Garbage, "33333333-3333-4333-8333-333333333333")
	tests := []struct{ prefix, want, err string }{
		{"", "", "UUID cannot be empty"},
		{"4", "", `no matches found for "4"`},
		{"ABCD", "", `no matches found for "abcd"`},
		{"3333", "", `no matches found for "3333"`}, // garbage is not searched
		{"1111", "", "ambiguous uuid, 2 matches"},
		{"11111111-1", string(uuidA), ""},
		{string(uuidB), string(uuidB), ""},
	}
	for _, tt := range tests {
		got, err := Resolve(ctx, data, tt.prefix)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got.String() != tt.want || text != tt.err {
			t.Errorf("Resolve(%q) = %q, %q; want %q, %q", tt.prefix, got, text, tt.want, tt.err)
		}
	}
}

func TestListSkipsWhatIsNoPod(t *testing.T) {
	data := t.TempDir()
	makePod(t, data, poddir.Run, uuidA)
	run := filepath.Join(data, poddir.Pods, poddir.Run)
	put(t, run+"/stray", "")
	if err := os.Mkdir(run+"/not-a-uuid", 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", run+"/"+string(uuidB)); err != nil {
		t.Fatal(err)
	}
	l, err := List(context.Background(), data, ListedDirs(), Full)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Pods) != 1 || l.Pods[0].UUID != uuidA || l.Pods[0].Err != nil {
		t.Errorf("pods %+v", l.Pods)
	}
	remarks := strings.Join(l.Remarks, "\n")
	for _, want := range []string{`unrecognized entry: "stray", ignoring`, `skipping "not-a-uuid": `, `unrecognized entry: "` + string(uuidB) + `"`} {
		if !strings.Contains(remarks, want) {
			t.Errorf("remarks %q lack %q", remarks, want)
		}
	}
}

func TestListShowsBrokenPodPartially(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.Prepared, uuidA)
	put(t, filepath.Join(path, poddir.PodManifest), "{")
	makePod(t, data, poddir.Prepared, uuidB)
	l, err := List(context.Background(), data, ListedDirs(), Full)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Pods) != 2 || l.Pods[0].Err == nil || l.Pods[0].State != Prepared || l.Pods[0].Created.IsZero() || l.Pods[1].Err != nil {
		t.Errorf("pods %+v", l.Pods)
	}
}

// A pod may contain whatever its apps could write.
func TestHostilePod(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	put(t, secret+"/rkt/status/app", "42\n")
	put(t, secret+"/file", "42\n")
	status := poddir.OverlayUpper(tree1, "") + "/" + poddir.AppStatus("app")
	tests := []struct {
		name  string
		plant func(t *testing.T, path string)
	}{
		{"status is a link", func(t *testing.T, path string) { symlink(t, secret+"/file", path+"/"+status) }},
		{"upper is a link", func(t *testing.T, path string) { symlink(t, secret, path+"/"+poddir.OverlayUpper(tree1, "")) }},
		{"status directory is a link", func(t *testing.T, path string) {
			symlink(t, secret+"/rkt/status", path+"/"+filepath.Dir(status))
		}},
		{"status is a FIFO", func(t *testing.T, path string) {
			remove(t, path+"/"+status)
			if err := unix.Mkfifo(path+"/"+status, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"status is huge", func(t *testing.T, path string) {
			if err := os.Truncate(path+"/"+status, maxFile+1); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := t.TempDir()
			path := makePod(t, data, poddir.Run, uuidA)
			tt.plant(t, path)
			p := mustOpen(t, data, uuidA)
			if s, err := p.AppStatus("app"); err == nil || s != nil {
				t.Errorf("AppStatus = %+v, %v; want an error", s, err)
			}
			in := p.Info()
			if in.Err == nil || in.Apps[0].ExitCode != nil || in.Apps[0].State != AppExited {
				t.Errorf("info %+v", in)
			}
		})
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	remove(t, path)
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func TestTreeIDIsAPlainName(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.Run, uuidA)
	for _, id := range []string{"", ".", "..", "../../../etc", "a/b", "a\n"} {
		put(t, path+"/"+poddir.Stage1TreeStoreID, id)
		if got, err := mustOpen(t, data, uuidA).Stage1TreeID(); err == nil {
			t.Errorf("Stage1TreeID() = %q for %q", got, id)
		}
	}
}

func TestOpenByComponents(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.Run, uuidA)
	symlink(t, "/etc", path+"/link")
	p := mustOpen(t, data, uuidA)
	fd, err := openByComponents(p.FD(), poddir.AppInfoManifest("app"), unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	for _, rel := range []string{"link/passwd", "link", "../" + string(uuidA) + "/pod", "/etc/passwd"} {
		if fd, err := openByComponents(p.FD(), rel, unix.O_RDONLY); err == nil {
			t.Errorf("%s: opened as %d", rel, fd)
		}
	}
}

func TestIsReady(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.Run, uuidA)
	link := filepath.Join(path, poddir.OverlayUpper(tree1, ""), poddir.SupervisorStatus)
	p := mustOpen(t, data, uuidA)
	for _, tt := range []struct {
		target string
		want   bool
	}{{"", false}, {"starting", false}, {"readyish", false}, {"ready", true}} {
		if tt.target != "" {
			symlink(t, tt.target, link)
		}
		if got, err := p.IsReady(); err != nil || got != tt.want {
			t.Errorf("target %q: %v, %v; want %v", tt.target, got, err, tt.want)
		}
	}
}

func TestFindInUse(t *testing.T) {
	ctx := context.Background()
	data := t.TempDir()
	path := makePod(t, data, poddir.Run, uuidA)
	makePod(t, data, poddir.Prepare, uuidB)
	startHolder(t, path)
	fail := func(err error) { t.Error(err) }
	u, err := FindInUse(ctx, data, fail)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{tree1: true, "deps-app": true}, u.Trees); diff != "" {
		t.Error(diff)
	}
	if !u.Images[appID] {
		t.Errorf("images %v", u.Images)
	}
	// What a running pod needs must not be guessed.
	remove(t, path+"/"+poddir.Stage1TreeStoreID)
	if _, err := FindInUse(ctx, data, fail); err == nil || !strings.Contains(err.Error(), "cannot get stage1 treestoreID for pod "+string(uuidA)) {
		t.Errorf("running pod without tree ID: %v", err)
	}
}

func TestWaitFinished(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.Run, uuidA)
	h := startHolder(t, path)
	p := mustOpen(t, data, uuidA)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.WaitFinished(ctx) }()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	h.release()
	if err := <-done; err != nil || p.State() != Exited {
		t.Errorf("%v, state %q", err, p.State())
	}
}

func TestWaitHonoursContext(t *testing.T) {
	data := t.TempDir()
	makePod(t, data, poddir.Prepared, uuidA)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	wantErr(t, mustOpen(t, data, uuidA).WaitFinished(ctx), context.DeadlineExceeded)
}

func TestWaitReady(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.Run, uuidA)
	h := startHolder(t, path)
	link := filepath.Join(path, poddir.OverlayUpper(tree1, ""), poddir.SupervisorStatus)
	done := make(chan error, 1)
	p := mustOpen(t, data, uuidA)
	go func() { done <- p.WaitReady(context.Background()) }()
	symlink(t, "ready", link)
	if err := <-done; err != nil {
		t.Error(err)
	}
	remove(t, link)
	go func() { done <- p.WaitReady(context.Background()) }()
	h.release()
	wantErr(t, <-done, ErrNotRunning)
}

func TestWaitInitPID(t *testing.T) {
	data := t.TempDir()
	path := makePod(t, data, poddir.Run, uuidA)
	remove(t, path+"/"+poddir.PID)
	h := startHolder(t, path)
	p := mustOpen(t, data, uuidA)
	done := make(chan error, 1)
	pid := 0
	go func() {
		var err error
		pid, err = p.WaitInitPID(context.Background())
		done <- err
	}()
	put(t, path+"/"+poddir.PID, "77\n")
	if err := <-done; err != nil || pid != 77 {
		t.Errorf("%d, %v", pid, err)
	}
	remove(t, path+"/"+poddir.PID)
	h.release()
	_, err := p.WaitInitPID(context.Background())
	wantErr(t, err, ErrNotRunning)
	if want := "pod " + string(uuidA) + " is not running anymore"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func TestChildren(t *testing.T) {
	if pid, err := single([]string{"5"}, 1); pid != 5 || err != nil {
		t.Errorf("%d, %v", pid, err)
	}
	if _, err := single([]string{"5", "6"}, 1); err == nil || err.Error() != "too many children of pid 1" {
		t.Errorf("%v", err)
	}
	if got := parentOf("12 (a) b) S 1 12 12"); got != "1" {
		t.Errorf("parentOf: %q", got)
	}
}

func FuzzParentOf(f *testing.F) {
	f.Add("sh", 1)
	f.Add(") S 7 (", 2)
	f.Fuzz(func(t *testing.T, comm string, ppid int) {
		if got := parentOf(fmt.Sprintf("12 (%s) S %d 12 12 0", comm, ppid)); got != fmt.Sprint(ppid) {
			t.Errorf("parent %q, want %d", got, ppid)
		}
	})
}

// Readers and a pod that goes through its states and away at the same time.
func TestListDuringLife(t *testing.T) {
	ctx := context.Background()
	data := t.TempDir()
	stop := make(chan struct{})
	finished := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				finished <- nil
				return
			default:
			}
			if err := liveAndDie(ctx, data); err != nil {
				finished <- err
				return
			}
		}
	}()
	for range 200 {
		if _, err := List(ctx, data, ListedDirs(), Full); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-finished; err != nil {
		t.Error(err)
	}
}

func liveAndDie(ctx context.Context, data string) error {
	p, err := Create(ctx, data)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	if err := p.ToRunning(ctx); err != nil {
		return err
	}
	if err := p.Unlock(); err != nil {
		return err
	}
	if err := p.ToGarbage(ctx, false); err != nil {
		return err
	}
	trash := filepath.Join(data, "trash")
	return errors.Join(p.Release(trash), os.RemoveAll(trash))
}

func BenchmarkList1000(b *testing.B) {
	data := b.TempDir()
	for i := range 1000 {
		makePod(b, data, poddir.Run, poddir.UUID(fmt.Sprintf("%08x-1111-4111-8111-111111111111", i)))
	}
	for name, detail := range map[string]Detail{"table": Table, "full": Full} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				l, err := List(context.Background(), data, ListedDirs(), detail)
				if err != nil || len(l.Pods) != 1000 || l.Pods[7].Err != nil {
					b.Fatal(len(l.Pods), err, l.Pods[7].Err)
				}
			}
		})
	}
}
