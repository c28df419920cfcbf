// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/pkg/uidrange"
	"github.com/rkt/rkt/v2/stage0/internal/rootfs"
)

func TestParseUserRange(t *testing.T) {
	if r, err := parseUserRange(""); err != nil || r != (userRange{}) {
		t.Errorf("none: %v, %v", r, err)
	}
	if r, err := parseUserRange("65536:65536"); err != nil || r != (userRange{65536, 65536}) || r.String() != "65536:65536" {
		t.Errorf("%v, %v", r, err)
	}
	if r, err := parseUserRange("65536"); !errors.Is(err, uidrange.ErrInvalid) {
		t.Errorf("%v, %v", r, err)
	}
}

// Pods that are prepared at once get ranges of their own, also from those that
// are there already.
func TestUserRangesDiffer(t *testing.T) {
	testenv.NeedsRoot(t)
	w := newWorld(t)
	c := w.prepareConfig()
	c.NoOverlay, c.PrivateUsers = true, true
	const n = 8
	var mu sync.Mutex
	seen := map[string]poddir.UUID{}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			p, err := Prepare(context.Background(), c)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = p.Close() }()
			raw, err := p.PrivateUsers()
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if other, ok := seen[raw]; ok {
				t.Errorf("%s and %s have %s", other, p.UUID(), raw)
			}
			seen[raw] = p.UUID()
		})
	}
	wg.Wait()
	ranges, err := rangesOfPods(context.Background(), w.dir)
	if err != nil || len(ranges) != n {
		t.Fatalf("%v, %v", ranges, err)
	}
	for i, r := range ranges {
		if slices.ContainsFunc(ranges[i+1:], r.Overlaps) {
			t.Errorf("range %v twice in %v", r, ranges)
		}
	}
	// A file that says nothing sensible must not look like no range at all.
	for _, uuid := range seen {
		put(t, filepath.Join(w.dir, poddir.Pods, poddir.Prepare, uuid.String(), poddir.PrivateUsersPrepared), "junk")
		break
	}
	p, err := Prepare(context.Background(), c)
	if !errors.Is(err, uidrange.ErrInvalid) {
		_ = p.Close()
		t.Errorf("error %v", err)
	}
}

func needsMapped(t *testing.T) {
	t.Helper()
	needs(t)
	if err := rootfs.TryMapped(t.TempDir()); err != nil {
		t.Skipf("needs overlays of idmapped layers: %v", err)
	}
}

// TestMapped runs pods with user namespaces from overlays and looks at who owns
// what: inside, on disk, in the shared layers and in what is exported.
func TestMapped(t *testing.T) {
	needsMapped(t)
	w := newWorld(t)
	image := filepath.Join(w.store.dir, appID.String(), "rootfs")
	if err := os.Chown(image+"/etc/kept", 1000, 100); err != nil {
		t.Fatal(err)
	}
	before := owners(w.store.dir)
	c := w.prepareConfig()
	c.PrivateUsers = true
	shifts := map[uint32]bool{}
	for range 2 { // two pods share the layers
		shifts[testMapped(t, w, c)] = true
	}
	if len(shifts) != 2 {
		t.Errorf("two pods have the ranges %v", slices.Collect(maps.Keys(shifts)))
	}
	if diff := cmp.Diff(before, owners(w.store.dir)); diff != "" {
		t.Errorf("the layers have changed (-want +got):\n%s", diff)
	}
}

func testMapped(t *testing.T, w *world, c PrepareConfig) uint32 {
	uuid := w.prepared(c)
	p := w.open(uuid)
	raw, err := p.PrivateUsers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseUserRange(raw)
	if err != nil || r.count == 0 {
		t.Fatal(r, err)
	}
	report := filepath.Join(t.TempDir(), "report")
	cmd := w.command("run-prepared", uuid.String())
	cmd.Env = append(cmd.Env, "STUB_REPORT="+report, "STUB_DNS=1")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 && !strings.Contains(string(out), `group "rkt" not found`) {
		t.Fatalf("run: %v\n%s", err, out)
	}
	got := readReport(t, report+".run")
	if got.AppFile != "content" || got.Mtab != "../proc/self/mounts" {
		t.Errorf("trees not in place: file %q, mtab %q", got.AppFile, got.Mtab)
	}
	if !slices.Contains(got.Args, "--private-users="+raw) {
		t.Errorf("argv %q", got.Args)
	}
	// In the pod's tree everything belongs to the pod.
	root := fmt.Sprintf("%d:%d", r.shift, r.shift)
	app := poddir.AppRootfs("app")
	for name, owner := range got.Owners {
		want := root
		if name == app+"/etc/kept" {
			want = fmt.Sprintf("%d:%d", r.shift+1000, r.shift+100)
		}
		if owner != want {
			t.Errorf("in the pod %s belongs to %s, want %s", name, owner, want)
		}
	}
	for _, name := range []string{
		app + "/etc/mtab", app + "/file", poddir.AppManifest("app"), poddir.Hosts, poddir.ResolvConf, poddir.StatusDir, "run",
	} {
		if _, ok := got.Owners[name]; !ok {
			t.Errorf("%s is not in the pod's tree: %v", name, slices.Sorted(maps.Keys(got.Owners)))
		}
	}
	// On disk all of it is as in an image.
	onDisk := owners(filepath.Join(w.open(uuid).Path(), poddir.Overlay))
	for name, owner := range onDisk {
		want := "0:0"
		if strings.HasSuffix(name, "/etc/kept") {
			want = "1000:100"
		}
		if owner != want {
			t.Errorf("on disk %s belongs to %s, want %s", name, owner, want)
		}
	}
	upper := "deps-" + appID.String() + "/upper/app/"
	for _, name := range []string{"written", "etc/kept", "etc/mtab"} {
		if _, ok := onDisk[upper+name]; !ok {
			t.Errorf("%s is not in the upper directory", name)
		}
	}
	out := filepath.Join(t.TempDir(), "x.aci")
	if err := Export(context.Background(), w.open(uuid), ExportConfig{Env: w.env, Output: out}); err != nil {
		t.Fatal(err)
	}
	_, uids := entries(t, out)
	for name, uid := range uids {
		if want := map[bool]int{true: 1000}[name == "rootfs/etc/kept"]; uid != want {
			t.Errorf("exported %s belongs to %d, want %d", name, uid, want)
		}
	}
	w.wantNoMounts()
	return r.shift
}

// An owner that the pod's namespace has no ID for is found before the pod runs.
func TestMappedRefusesForeignOwners(t *testing.T) {
	needsMapped(t)
	w := newWorld(t)
	file := filepath.Join(w.store.dir, appID.String(), "rootfs", "file")
	if err := os.Chown(file, 65536, 0); err != nil {
		t.Fatal(err)
	}
	c := w.prepareConfig()
	c.PrivateUsers = true
	p, err := Prepare(context.Background(), c)
	if err == nil {
		_ = p.Close()
	}
	if err == nil || !strings.Contains(err.Error(), `image of app "app": "`+file+`": uid 65536 or gid 0 are out of range 65536`) {
		t.Errorf("error %v", err)
	}
}
