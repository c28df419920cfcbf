// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/rkt/rkt/v2/tests/harness"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// umociTree unpacks an OCI layout with umoci.
func umociTree(t *testing.T, layout string, o harness.ScanOptions) map[string]harness.Node {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle")
	harness.Command(t, "umoci", "unpack", "--image", layout+":"+harness.Tag, bundle)
	return harness.Scan(t, filepath.Join(bundle, "rootfs"), o)
}

// standardLinks are what rkt adds to an image that lacks them (images.md 9.5).
func standardLinks() []string { return []string{"dev/stdin", "dev/stdout", "dev/stderr", "dev/fd"} }

// TestTreeEqualsUmoci renders images and compares every file with what umoci
// makes of them: owners, modes, times, attributes, links, devices, content.
func TestTreeEqualsUmoci(t *testing.T) {
	odd := harness.WriteLayout(t, harness.OCIImage(t, harness.OCIOptions{}, harness.OddLayers()...))
	for name, layout := range map[string]string{"odd": odd, "debian": harness.DebianLayout(t)} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			// dev itself gets a new time when rkt adds links to it
			o := harness.ScanOptions{Skip: standardLinks()}
			want := umociTree(t, layout, o)
			id := h.Fetch("oci:" + layout)
			dir := filepath.Join(t.TempDir(), "rendered")
			h.OK("image", "render", "--rootfs-only", id, dir)
			compare(t, "umoci", want, "rkt image render", harness.Scan(t, dir, o))
			aci := filepath.Join(t.TempDir(), "x.aci")
			h.OK("image", "export", id, aci)
			extracted := filepath.Join(t.TempDir(), "extracted")
			h.OK("image", "extract", "--rootfs-only", id, extracted)
			compare(t, "umoci", want, "rkt image extract", harness.Scan(t, extracted, o))
		})
	}
}

// compare compares two trees without the times of dev, which rkt adds links
// to, and of the root, which umoci does not restore.
func compare(t *testing.T, wantName string, want map[string]harness.Node, gotName string, got map[string]harness.Node) {
	t.Helper()
	for _, m := range []map[string]harness.Node{want, got} {
		for _, name := range []string{".", "dev"} {
			if n, ok := m[name]; ok {
				n.MTime = ""
				m[name] = n
			}
		}
	}
	harness.CompareTrees(t, wantName, want, gotName, got)
}

// TestPodSeesUmociTree looks from inside a pod, that is through the stack of
// overlay layers, at the same image.
func TestPodSeesUmociTree(t *testing.T) {
	h := newHost(t)
	layers := append(harness.OddLayers(), harness.BusyboxEntries(t))
	layout := harness.WriteLayout(t, harness.OCIImage(t, harness.OCIOptions{Config: v1.Config{Cmd: []string{"/bin/sh"}}}, layers...))
	want := umociTree(t, layout, harness.ScanOptions{})
	out := h.OK("run", "--net=host", "oci:"+layout, "--", "-c",
		`cd / && find . -xdev \( -path ./dev -o -path ./proc -o -path ./sys -o -path ./tmp \) -prune -o -print0 | xargs -0 stat -c '%n|%f|%u|%g|%s|%Y|%h'`)
	seen := 0
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 7 {
			t.Fatalf("stat line %q", line)
		}
		path := strings.TrimPrefix(strings.TrimPrefix(f[0], "./"), "/")
		if path == "" {
			path = "."
		}
		w, ok := want[path]
		if path == "etc/mtab" || path == "etc/hosts" || path == "etc/resolv.conf" || path == "etc" || path == "." {
			continue // rkt makes the link etc/mtab and DNS files
		}
		if !ok {
			t.Errorf("%s is in the pod, not in umoci's tree", path)
			continue
		}
		seen++
		mode, err := strconv.ParseUint(f[1], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		second, _, _ := strings.Cut(w.MTime, ".")
		if got := strconv.FormatUint(mode, 8); got != w.Mode || f[2] != itoa(int64(w.UID)) || f[3] != itoa(int64(w.GID)) || f[5] != second {
			t.Errorf("%s in the pod: mode %s owner %s:%s time %s, umoci has %+v", path, got, f[2], f[3], f[5], w)
		}
		if links := max(len(w.Links), 1); len(w.Mode) > len("40755") && f[6] != strconv.Itoa(links) {
			t.Errorf("%s in the pod has %s links, umoci's %v", path, f[6], w.Links)
		}
	}
	if seen < len(want)*9/10 {
		t.Errorf("only %d of %d files seen in the pod", seen, len(want))
	}
}

// TestOCIThereAndBack: fetched as OCI, exported as ACI, fetched again into an
// empty store: the same ID and the same tree.
func TestOCIThereAndBack(t *testing.T) {
	odd := harness.WriteLayout(t, harness.OCIImage(t, harness.OCIOptions{Config: v1.Config{Cmd: []string{"/bin/tool"}, Env: []string{"A=b"}}}, harness.OddLayers()...))
	for name, layout := range map[string]string{"odd": odd, "debian": harness.DebianLayout(t)} {
		t.Run(name, func(t *testing.T) {
			h, h2 := newHost(t), newHost(t)
			id := h.Fetch("oci:" + layout)
			aci := filepath.Join(t.TempDir(), "there.aci")
			h.OK("image", "export", id, aci)
			raw, err := os.ReadFile(aci)
			if err != nil {
				t.Fatal(err)
			}
			if got := imageID(raw); got != id {
				t.Errorf("sha512 of the exported archive is %s, the image ID %s", got, id)
			}
			harness.Command(t, harness.Program(t, "ACTOOL_BIN", "actool"), "validate", aci)
			if got := h2.Fetch(aci); got != id {
				t.Errorf("ID after the way there and back is %s, want %s", got, id)
			}
			a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
			h.OK("image", "render", id, a)
			h2.OK("image", "render", id, b)
			one, two := harness.Scan(t, a, harness.ScanOptions{}), harness.Scan(t, b, harness.ScanOptions{})
			for _, tree := range []map[string]harness.Node{one, two} {
				for _, made := range []string{".", "manifest"} { // not of the archive: made now
					n := tree[made]
					n.MTime = ""
					tree[made] = n
				}
			}
			harness.CompareTrees(t, "OCI", one, "ACI", two)
			again := filepath.Join(t.TempDir(), "again.aci")
			h2.OK("image", "export", id, again)
			back, err := os.ReadFile(again)
			if err != nil {
				t.Fatal(err)
			}
			if string(back) != string(raw) {
				t.Errorf("the archive changed on its way back")
			}
		})
	}
}

// TestSameImageTwiceSameID: another store, another time, the same ID.
func TestSameImageTwiceSameID(t *testing.T) {
	layout := harness.DebianLayout(t)
	a, b := newHost(t), newHost(t)
	if one, two := a.Fetch("oci:"+layout), b.Fetch("oci:"+layout); one != two {
		t.Errorf("IDs %s and %s of the same image", one, two)
	}
}

// TestLayerThroughSymlinkBelow: a layer made by hand on a base whose lib is a
// link to usr/lib, and which has files below lib without an entry for it.
func TestLayerThroughSymlinkBelow(t *testing.T) {
	base := []harness.Entry{harness.Dir("usr", 0o755), harness.Dir("usr/lib", 0o755), harness.Symlink("lib", "usr/lib")}
	layout := harness.WriteLayout(t, harness.OCIImage(t, harness.OCIOptions{}, base, []harness.Entry{harness.File("lib/x", 0o644, "x")}))
	o := harness.ScanOptions{SkipDirTimes: true, Skip: append(standardLinks(), "dev")}
	h := newHost(t)
	dir := filepath.Join(t.TempDir(), "rendered")
	h.OK("image", "render", "--rootfs-only", h.Fetch("oci:"+layout), dir)
	compare(t, "umoci", umociTree(t, layout, o), "rkt image render", harness.Scan(t, dir, o))
}
