// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/pkg/uidrange"
)

// tree lists what is below dir, down to the copied trees, with modes.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		out[rel] = fi.Mode().String()
		if rel == poddir.Stage1Rootfs {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPrepareFiles(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	common := map[string]string{
		".": "drwxr-x---", "appsinfo": "drwxr-x---", "appsinfo/app": "drwxr-x---", "appsinfo/app/manifest": "-rw-r-----",
		"pod": "-rw-r-----", "pod-created": "-rw-r-----", "pod.lck": "-rw-------",
		"stage1": "drwxr-x---", "stage1/manifest": "-rw-r-----", "stage1TreeStoreID": "-rw-r-----",
	}
	tests := []struct {
		name    string
		change  func(*PrepareConfig)
		more    map[string]string
		overlay bool
	}{
		{"overlay", func(*PrepareConfig) {}, map[string]string{
			"appsinfo/app/treeStoreID": "-rw-r-----", "overlay-prepared": "-rw-r--r--", "stage1/rootfs": "drwxr-x---",
		}, true},
		{"copy", func(c *PrepareConfig) { c.NoOverlay = true }, map[string]string{"stage1/rootfs": "drwxr-xr-x"}, false},
		{
			"private users", func(c *PrepareConfig) { c.NoOverlay, c.PrivateUsers = true, true },
			map[string]string{"stage1/rootfs": "drwxr-xr-x", "private-users-prepared": "-rw-r-----"},
			false,
		},
		{
			"mapped private users", func(c *PrepareConfig) { c.PrivateUsers = true },
			map[string]string{
				"appsinfo/app/treeStoreID": "-rw-r-----", "overlay-prepared": "-rw-r--r--", "stage1/rootfs": "drwxr-x---",
				"private-users-prepared": "-rw-r-----",
			},
			true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.prepareConfig()
			tt.change(&c)
			p := w.open(w.prepared(c))
			want := map[string]string{}
			for _, m := range []map[string]string{common, tt.more} {
				for k, v := range m {
					want[k] = v
				}
			}
			if diff := cmp.Diff(want, tree(t, p.Path())); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			app := filepath.Join(p.Path(), poddir.Stage1Rootfs, poddir.AppRootfs("app"), "file")
			data, err := os.ReadFile(app)
			if copied := err == nil && string(data) == "content"; copied == tt.overlay {
				t.Errorf("app copied: %v (%v)", copied, err)
			}
			if id, err := p.Stage1TreeID(); err != nil || id != "deps-"+stage1ID.String() {
				t.Errorf("stage1 tree %q, %v", id, err)
			}
			checkShift(t, p)
		})
	}
}

func checkShift(t *testing.T, p *pod.Pod) {
	t.Helper()
	raw, err := p.PrivateUsers()
	if err != nil || raw == "" {
		return
	}
	r, err := parseUserRange(raw)
	if err != nil || r.count != uidrange.Size || r.shift == 0 {
		t.Fatalf("range %q, %v", raw, err)
	}
	if mapped, err := p.UsesOverlay(); err != nil || mapped {
		return
	}
	for _, rel := range []string{"opt/stage2/app", "opt/stage2/app/manifest", "opt/stage2/app/rootfs/file"} {
		uid := owner(t, filepath.Join(p.Path(), poddir.Stage1Rootfs, rel))
		if uid != r.shift {
			t.Errorf("%s belongs to %d, want %d", rel, uid, r.shift)
		}
	}
}

func TestPrepareErrors(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	const sha = `"image":{"id":"sha512-2222"}`
	podManifest := func(apps string) []byte {
		return []byte(`{"acVersion":"1.0.0","acKind":"PodManifest","apps":[` + apps + `]}`)
	}
	tests := []struct {
		name   string
		change func(*PrepareConfig)
		want   string
		left   int // pods left behind, as aborted prepares
	}{
		{"no apps", func(c *PrepareConfig) { c.Apps = nil }, "pod must contain at least one application", 0},
		{"unknown stage1", func(c *PrepareConfig) { c.Stage1 = "sha512-9999" }, "manifest of stage1 image", 0},
		{"app as stage1", func(c *PrepareConfig) { c.Stage1 = appID }, `entrypoint "coreos.com/rkt/stage1/run" not found`, 0},
		{"mutable", func(c *PrepareConfig) { c.Mutable = true }, "stage1 does not support mutable pods", 0},
		{
			"overlay and user namespace", func(c *PrepareConfig) { c.PrivateUsers, c.Stage1 = true, oldStage1ID },
			"cannot use both overlay and user namespace: not implemented yet. (Try --no-overlay): the stage1 image does not support it", 0,
		},
		{"manifest is no JSON", func(c *PrepareConfig) { c.PodManifest = []byte("{") }, "invalid pod manifest", 0},
		{"manifest without apps", func(c *PrepareConfig) { c.PodManifest = podManifest("") }, "pod must contain at least one application", 0},
		{"manifest without image", func(c *PrepareConfig) { c.PodManifest = podManifest(`{"name":"a","image":{"id":""}}`) }, `no image ID for app "a"`, 0},
		{
			"manifest with same names", func(c *PrepareConfig) {
				c.PodManifest = podManifest(`{"name":"a",` + sha + `},{"name":"a",` + sha + `}`)
			}, "multiple apps with same name a", 0,
		},
		{
			"two apps of one name", func(c *PrepareConfig) { c.Apps = []App{{Image: appID}, {Image: appID}} },
			"error setting up stage0: error: multiple apps with name app", 1,
		},
		{
			"port of no app", func(c *PrepareConfig) { c.Ports = []appc.ExposedPort{{Name: "http", HostPort: 80}} },
			`port name "http" could not be found in any apps`, 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.prepareConfig()
			tt.change(&c)
			c.UUIDFileSave = filepath.Join(w.dir, "uuid")
			if c.PodManifest != nil {
				c.Apps = nil
			}
			p, err := Prepare(context.Background(), c)
			if err == nil {
				_ = p.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			l, err := pod.List(context.Background(), w.dir, pod.ListedDirs(), pod.Full)
			if err != nil || len(l.Pods) != tt.left {
				t.Fatalf("%d pods left, %v; want %d", len(l.Pods), err, tt.left)
			}
			saved, err := os.ReadFile(c.UUIDFileSave)
			if tt.left == 0 {
				return
			}
			if err != nil || string(saved) != l.Pods[0].UUID.String() || l.Pods[0].State != pod.AbortedPrepare {
				t.Errorf("UUID file %q, %v; pod %+v", saved, err, l.Pods[0])
			}
		})
	}
}

func TestPreparePodManifestIsStoredUnchanged(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	w := newWorld(t)
	c := w.prepareConfig()
	c.Apps = nil
	c.PodManifest = []byte("{\n  \"acVersion\": \"1.0.0\", \"acKind\": \"PodManifest\",\n" +
		"  \"apps\": [ {\"name\": \"app\", \"image\": {\"id\": \"sha512-2222\"}} ]\n}\n")
	p := w.open(w.prepared(c))
	raw, err := p.RawManifest()
	if err != nil || string(raw) != string(c.PodManifest) {
		t.Errorf("stored %q, %v", raw, err)
	}
	in := p.Info()
	if in.Err != nil || in.Apps[0].ImageName != "example.com/app" {
		t.Errorf("info %+v", in)
	}
}

func BenchmarkPrepare(b *testing.B) {
	testenv.NeedsRoot(b)
	testenv.NeedsOverlay(b)
	w := newWorld(b)
	for b.Loop() {
		p, err := Prepare(context.Background(), w.prepareConfig())
		if err != nil {
			b.Fatal(err)
		}
		if err := p.ToRunning(context.Background()); err != nil {
			b.Fatal(err)
		}
		_ = p.Close()
	}
}
