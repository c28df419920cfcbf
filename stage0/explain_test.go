// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/explain"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

func (w *world) explainConfig() ExplainConfig {
	return ExplainConfig{
		Env: w.env,
		Verification: func(id appc.ImageID) explain.Verification {
			return explain.Verification{Status: "v", Detail: id.String()}
		},
		Stage1ID: func(_ context.Context, name, treeID string) appc.ImageID {
			if name != "example.com/stage1" || treeID == "" {
				w.t.Errorf("stage1 %q of tree %q", name, treeID)
			}
			return stage1ID
		},
		Stage1From: func(appc.ImageID) string { return "a test" },
	}
}

func TestExplainRun(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	w := newWorld(t)
	w.write(layersID, "layer1/etc/passwd", "www:x:33:44::/:/bin/sh\n")
	w.write(layersID, "rootfs/etc/group", "www:x:44:\n")
	w.write(layersID, "layer1/bin/app", "#!/bin/sh\n")
	c := w.prepareConfig()
	c.Apps = []App{{Image: layersID, User: "www", Group: "www", Exec: "/bin/none"}}
	run := RunConfig{Env: w.env, Net: "none", DisablePaths: true, Hostname: "h"}
	r, err := ExplainRun(t.Context(), c, run, w.explainConfig())
	if err != nil {
		t.Fatal(err)
	}
	a := &r.Apps[0]
	if a.User.UID == nil || *a.User.UID != 33 || *a.User.GID != 44 || a.Image.ID != string(layersID) || r.Stage1.ImageID != string(stage1ID) || r.Stage1.From != "a test" {
		t.Errorf("%+v %+v", a.User, r.Stage1)
	}
	if len(r.Refusals) != 1 || !strings.Contains(r.Refusals[0], "/bin/none") {
		t.Errorf("a program that is not there: %q", r.Refusals)
	}
	if !slices.Equal(r.InsecureOptions.Run, []string{"paths"}) || r.HostName.Value != "h" || r.Stage1.Known {
		t.Errorf("%+v", r)
	}

	c.Stage1 = oldStage1ID // which has no words for these options
	if r, err = ExplainRun(t.Context(), c, run, w.explainConfig()); err != nil {
		t.Fatal(err)
	}
	if len(r.InsecureOptions.Run) != 0 || r.HostName.Value == "h" || !strings.Contains(strings.Join(r.Warnings, "\n"), "--hostname option is not supported") {
		t.Errorf("%+v %q", r.InsecureOptions, r.Warnings)
	}
	w.wantNoPods()
}

// wantNoPods: nothing was made, nothing is left.
func (w *world) wantNoPods() {
	w.t.Helper()
	for _, dir := range podDirs() {
		if left, _ := filepath.Glob(filepath.Join(w.dir, poddir.Pods, dir, "*")); len(left) > 0 {
			w.t.Errorf("pods: %v", left)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(w.dir, poddir.Tmp)); len(left) > 0 {
		w.t.Errorf("left in tmp: %v", left)
	}
	w.wantNoMounts()
}

func TestExplainRunErrors(t *testing.T) {
	testenv.NeedsRoot(t)
	w := newWorld(t)
	for name, change := range map[string]func(*PrepareConfig){
		"no apps":       func(c *PrepareConfig) { c.Apps = nil },
		"no image":      func(c *PrepareConfig) { c.Apps[0].Image = "sha512-0000" },
		"name twice":    func(c *PrepareConfig) { c.Apps = append(c.Apps, c.Apps[0]) },
		"pod manifest":  func(c *PrepareConfig) { c.PodManifest = []byte("{}") },
		"not a stage 1": func(c *PrepareConfig) { c.Stage1 = appID },
	} {
		c := w.prepareConfig()
		change(&c)
		if r, err := ExplainRun(t.Context(), c, RunConfig{Env: w.env}, w.explainConfig()); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	w.wantNoPods()
}

func TestExplainPod(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	w := newWorld(t)
	w.write(appID, "rootfs/bin/app", "#!/bin/sh\n")
	w.write(appID, "rootfs/bin/sh", "")
	c := w.prepareConfig()
	for _, noOverlay := range []bool{false, true} {
		c.NoOverlay = noOverlay
		r, err := ExplainPod(t.Context(), w.open(w.prepared(c)), w.explainConfig())
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{false: "overlay", true: "copy"}[noOverlay]
		if r.Basis != explain.BasisPlan || r.Pod.State != string(pod.Prepared) || r.Apps[0].Root.Kind != want || r.Apps[0].User.UID == nil ||
			r.Apps[0].Image.Verification.Status != "v" || r.InsecureOptions.Run != nil {
			t.Errorf("overlay %t: %+v", !noOverlay, r)
		}
	}
	c.NoOverlay = false
	p := w.open(w.exited(c))
	r, err := ExplainPod(t.Context(), p, w.explainConfig())
	if err != nil || !strings.Contains(strings.Join(r.Warnings, "\n"), "has not recorded how the pod was started") {
		t.Errorf("%v: %+v", err, r)
	}
	// A record of another app is not taken for this one's.
	if err := os.WriteFile(filepath.Join(p.Path(), poddir.AppProfile), []byte(`{"app":"other"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := ExplainPod(t.Context(), p, w.explainConfig()); err == nil {
		t.Errorf("%+v", r)
	}
	put(t, filepath.Join(p.Path(), poddir.AppProfile), `{"app":"app","uid":7,"gid":8}`)
	put(t, filepath.Join(p.Path(), poddir.RuntimeConfig), `{"IPCMode":"private","InsecureOptions":{"DisableSeccomp":true}}`)
	r, err = ExplainPod(t.Context(), p, w.explainConfig())
	if err != nil || r.Basis != explain.BasisRecord || *r.Apps[0].User.UID != 7 || !slices.Equal(r.InsecureOptions.Run, []string{"seccomp"}) || r.Apps[0].Process != nil {
		t.Errorf("%v: %+v", err, r)
	}
}
