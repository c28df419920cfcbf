// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

const logsEnv = "RKT_TEST_LOGS"

// addLogs gives the stage1 of a pod a logs program that says how it was called.
func (w *world) addLogs(uuid poddir.UUID) (root string) {
	w.t.Helper()
	manifest := filepath.Join(w.open(uuid).Path(), poddir.Stage1Manifest)
	data, err := os.ReadFile(manifest)
	if err != nil {
		w.t.Fatal(err)
	}
	const list = `"annotations":[`
	more := strings.Replace(string(data), list, list+`{"name":"`+entrypoint.AnnotationLogs+`","value":"/logs"},`, 1)
	if err := os.WriteFile(manifest, []byte(more), 0o644); err != nil {
		w.t.Fatal(err)
	}
	root = filepath.Join(w.store.dir, stage1ID.String(), "rootfs")
	script := "#!/bin/sh\npwd -P\nprintf '%s\\n' \"$@\"\ntr '\\0' '\\n' </proc/self/environ\n"
	put(w.t, filepath.Join(root, "logs.sh"), script)
	if err := os.Chmod(filepath.Join(root, "logs.sh"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	// A link as those of the multi-call program.
	if err := os.Symlink("/logs.sh", filepath.Join(root, "logs")); err != nil {
		w.t.Fatal(err)
	}
	return root
}

// TestLogsChild is the process that becomes the logs program, nothing else.
func TestLogsChild(t *testing.T) {
	args := strings.Fields(os.Getenv(logsEnv))
	if len(args) == 0 {
		return
	}
	p, err := pod.Open(context.Background(), args[0], poddir.UUID(args[2]))
	if err == nil {
		store := fakeStore{args[1]}
		err = Logs(context.Background(), p, LogsConfig{
			Env: Env{DataDir: args[0], Images: store, Trees: store}, App: "app", Follow: true, Since: time.Unix(1, 5000), Lines: 3, Output: "cat",
			Environ: []string{"PATH=/usr/bin:/bin", "TZ=Mars/Base", "HOME=/root", "LD_PRELOAD=x"},
		})
	}
	t.Fatal(err)
}

func TestLogs(t *testing.T) {
	needs(t)
	for _, mode := range []string{"overlay", "copy"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			c := w.prepareConfig()
			c.NoOverlay = mode == "copy"
			uuid := w.exited(c)
			root := w.addLogs(uuid)
			journal := "stage1/rootfs"
			if mode == "overlay" {
				id, err := w.open(uuid).Stage1TreeID()
				if err != nil {
					t.Fatal(err)
				}
				journal = "overlay/" + id + "/upper"
			}
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestLogsChild$")
			cmd.Env = []string{logsEnv + "=" + w.dir + " " + w.store.dir + " " + uuid.String()}
			out, err := cmd.CombinedOutput()
			if err != nil && !errors.As(err, new(*exec.ExitError)) {
				t.Fatal(err)
			}
			want := []string{
				filepath.Join(w.dir, poddir.Pods, poddir.Run, uuid.String()),
				"--journal=" + journal + "/var/log/journal/" + uuid.MachineID(), "--root=" + root, "--app=app",
				"--since=@1.000005", "--lines=3", "--output=cat", // the pod has ended: nothing to follow
				"PATH=/usr/bin:/bin", "TZ=Mars/Base", "",
			}
			if diff := cmp.Diff(want, strings.Split(string(out), "\n")); diff != "" {
				t.Error(diff)
			}
			w.wantNoMounts()
		})
	}
}

func TestLogsRefuses(t *testing.T) {
	needs(t)
	w := newWorld(t)
	ctx := context.Background()
	check := func(p *pod.Pod, app, want string) error {
		t.Helper()
		err := Logs(ctx, p, LogsConfig{Env: w.env, App: app, Lines: entrypoint.AllLines, Output: "cat"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		return err
	}
	prepared := w.prepared(w.prepareConfig())
	_ = check(w.open(prepared), "", `pod "`+prepared.String()+`" has not been started`)
	exited := w.open(w.exited(w.prepareConfig()))
	err := check(exited, "", `rkt logs not implemented for pod's stage1: entrypoint "coreos.com/rkt/stage1/logs" not found`)
	if !strings.Contains(hint.Of(err), "rkt run") {
		t.Errorf("hint %q", hint.Of(err))
	}
	_ = check(exited, "other", "app other is not present in pod")
}
