// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// smallImage is an image of one file; a different seed is a different image.
func smallImage(t *testing.T, name, version string, seed uint64) string {
	t.Helper()
	return harness.ACI(t, harness.Manifest(name, version, nil), []harness.Entry{harness.File("data", 0o644, harness.Noise(seed, 1000))})
}

func TestImageListAndRemove(t *testing.T) {
	h := newHost(t)
	if out := h.OK("image", "list", "--no-legend"); out != "" {
		t.Errorf("list of an empty store: %q", out)
	}
	if out := h.OK("image", "list", "--format=json"); out != "[]\n" {
		t.Errorf("JSON list of an empty store: %q", out)
	}
	a := h.Fetch(smallImage(t, "example.com/b", "1", 1))
	b := h.Fetch(smallImage(t, "example.com/a", "2.0", 2))
	out := h.OK("image", "list")
	if !strings.HasPrefix(out, "ID\t\t\tNAME\t\t\tSIZE\t") || !strings.Contains(out, a[:19]+"\texample.com/b:1\t") {
		t.Errorf("list:\n%s", out)
	}
	if out := h.OK("image", "list", "--no-legend", "--fields=name", "--sort=name", "--order=desc"); out != "example.com/b:1\nexample.com/a:2.0\n" {
		t.Errorf("sorted names: %q", out)
	}
	var images []struct {
		ID, Name string
		Size     int64
		Imported int64 `json:"import_time"`
	}
	if err := json.Unmarshal([]byte(h.OK("image", "list", "--format=json")), &images); err != nil {
		t.Fatal(err)
	}
	if len(images) != 2 || images[0].ID != a || images[1].Name != "example.com/a:2.0" || images[0].Size < 1000 || images[0].Imported == 0 {
		t.Errorf("JSON: %+v", images)
	}
	h.Fail(254, "wrong sort order", "image", "list", "--order=sideways")
	h.Fail(254, `unknown option "colour"`, "image", "list", "--fields=colour")

	r := h.Run("image", "rm", a, "example.com/b", "example.com/not-there")
	if r.Status != 0 || r.Stdout != `successfully removed aci for image: "`+a+`"`+"\n" || !strings.Contains(r.Stderr, "rm: 1 image(s) successfully removed") {
		t.Errorf("rm by ID and name of one image: %s", r)
	}
	h.Fail(254, "", "image", "rm", "example.com/not-there")
	h.Fail(254, "must provide at least one image ID", "image", "rm")
	if out := h.OK("image", "list", "--no-legend", "--full", "--fields=id"); out != b+"\n" {
		t.Errorf("left: %q", out)
	}
	h.OK("image", "fsck")
}

func TestImageContentCommands(t *testing.T) {
	h := newHost(t)
	aci := harness.Busybox(t, map[string]any{"exec": []string{"/bin/true"}})
	id := h.Fetch(aci)
	var m map[string]any
	if err := json.Unmarshal([]byte(h.OK("image", "cat-manifest", id[:12])), &m); err != nil || m["name"] != "example.com/busybox" {
		t.Errorf("cat-manifest: %v, %v", m, err)
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "out.aci")
	h.OK("image", "export", "example.com/busybox", out)
	if raw, err := os.ReadFile(out); err != nil || string(raw) != string(plainTar(t, aci)) {
		t.Errorf("exported archive differs (%v)", err)
	}
	h.Fail(254, "output ACI file exists (try --overwrite)", "image", "export", id, out)
	h.OK("image", "export", "--overwrite", id, out)

	for _, verb := range []string{"extract", "render"} {
		to := filepath.Join(dir, verb)
		h.OK("image", verb, id, to)
		if _, err := os.Stat(filepath.Join(to, "rootfs", "bin", "busybox")); err != nil {
			t.Errorf("%s: %v", verb, err)
		}
		if info, err := os.Stat(filepath.Join(to, "manifest")); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: manifest %v %v", verb, info, err)
		}
		h.Fail(254, "output directory exists (try --overwrite)", "image", verb, id, to)
		h.OK("image", verb, "--overwrite", "--rootfs-only", id, to)
		if _, err := os.Stat(filepath.Join(to, "bin", "busybox")); err != nil {
			t.Errorf("%s --rootfs-only: %v", verb, err)
		}
	}
	h.Fail(254, "this would delete your root filesystem. Refusing.", "image", "extract", "--overwrite", id, "/")
	h.Fail(254, "no image IDs found", "image", "cat-manifest", "sha512-0000")
	h.Fail(254, "image ID too short", "image", "cat-manifest", "sha512-a")
	h.Fail(254, "cannot find aci satisfying name", "image", "cat-manifest", "example.com/other")
}

func TestDependenciesAndWhitelist(t *testing.T) {
	h := newHost(t)
	base := harness.ACI(t, harness.Manifest("example.com/base", "1", nil),
		[]harness.Entry{harness.File("a", 0o644, "base a"), harness.File("b", 0o644, "base b"), harness.Dir("d", 0o755), harness.File("d/x", 0o600, "x"), harness.Hardlink("b2", "b")})
	top := harness.Manifest("example.com/top", "1", nil)
	top["dependencies"] = []map[string]any{{"imageName": "example.com/base"}}
	top["pathWhitelist"] = []string{"/b", "/b2", "/c", "/d"}
	h.Fetch(base)
	id := h.Fetch(harness.ACI(t, top, []harness.Entry{harness.File("b", 0o644, "top b"), harness.File("c", 0o644, "top c")}), "--pull-policy=new")
	dir := filepath.Join(t.TempDir(), "r")
	h.OK("image", "render", "--rootfs-only", id, dir)
	got := harness.Scan(t, dir, harness.ScanOptions{})
	for name, want := range map[string]bool{"a": false, "b": true, "b2": true, "c": true, "d": true, "d/x": false} {
		if _, ok := got[name]; ok != want {
			t.Errorf("%s in the rendered tree: %t, want %t", name, ok, want)
		}
	}
	for name, want := range map[string]string{"b": "top b", "b2": "base b", "c": "top c"} {
		if raw, _ := os.ReadFile(filepath.Join(dir, name)); string(raw) != want {
			t.Errorf("%s is %q, want %q", name, raw, want)
		}
	}
}

func TestVerifyAndRepairTree(t *testing.T) {
	h := newHost(t)
	id := h.Fetch(harness.Busybox(t, nil))
	want := `successfully verified checksum for image: "` + id + `" ("` + id + `")` + "\n"
	if out := h.OK("image", "verify", id); out != want {
		t.Errorf("verify: %q", out)
	}
	trees, err := filepath.Glob(filepath.Join(h.Dir, "cas", "tree", "*", "rootfs", "etc", "passwd"))
	if err != nil || len(trees) != 1 {
		t.Fatalf("etc/passwd in the trees: %v, %v", trees, err)
	}
	damage := map[string]func(path string) error{
		"deleted file":   os.Remove,
		"changed file":   func(p string) error { return os.WriteFile(p, []byte("evil:x:0:0::/:/bin/sh\n"), 0o644) },
		"changed mode":   func(p string) error { return os.Chmod(p, 0o666) },
		"changed owner":  func(p string) error { return os.Chown(p, 5, 5) },
		"new file":       func(p string) error { return os.WriteFile(p+".new", nil, 0o644) },
		"same size+time": sameSizeAndTime,
	}
	for what, do := range damage {
		if err := do(trees[0]); err != nil {
			t.Fatal(err)
		}
		r := h.Run("image", "verify", id)
		if r.Status != 0 || !strings.Contains(r.Stdout, "tree cache verification failed for image "+id+": ") || !strings.Contains(r.Stdout, ";  rebuilding...") {
			t.Errorf("%s: %s", what, r)
		}
		if out := h.OK("image", "verify", id); out != want {
			t.Errorf("%s: verify after the repair: %q", what, out)
		}
		// the check at start sees it as well
		if err := do(trees[0]); err != nil {
			t.Fatal(err)
		}
		if out := h.OK(sh(id, "cat /etc/passwd | head -1; ls /etc/passwd.new 2>/dev/null; stat -c '%a %u' /etc/passwd")...); out != "root:x:0:0:root:/root:/bin/sh\n644 0\n" {
			t.Errorf("%s: a pod started on the damaged tree: %q", what, out)
		}
	}
	h.OK("image", "gc", "--grace-period=0s")
}

// sameSizeAndTime changes content so that only ctime tells.
func sameSizeAndTime(p string) error {
	info, err := os.Stat(p)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	raw[0] = 'R'
	if err := os.WriteFile(p, raw, 0o644); err != nil {
		return err
	}
	return os.Chtimes(p, info.ModTime(), info.ModTime())
}

func TestImageGC(t *testing.T) {
	h := newHost(t)
	id := h.Fetch(harness.Busybox(t, nil))
	p := h.StartPod(sh(id, loop)[1:]...)
	if r := h.Run("image", "gc", "--grace-period=0s"); r.Status != 0 || strings.Contains(r.Stdout, id) {
		t.Errorf("image of a running pod: %s", r)
	}
	h.OK("stop", p.UUID)
	p.Wait()
	h.OK("rm", p.UUID)
	r := h.Run("image", "gc", "--grace-period=0s")
	if r.Status != 0 || !strings.Contains(r.Stderr, "removed treestore") || !strings.Contains(r.Stdout, `successfully removed aci for image: "`+id+`"`) {
		t.Errorf("%s", r)
	}
	h.CheckEmpty()
	if r := h.Run("image", "gc"); r.Status != 0 || r.Stdout+r.Stderr != "" {
		t.Errorf("nothing to do is not silent: %s", r)
	}
}

func TestIndexRepairsItself(t *testing.T) {
	damage := map[string]func(path string) error{
		"deleted":   os.Remove,
		"truncated": func(p string) error { return os.Truncate(p, 700) },
		"emptied":   func(p string) error { return os.Truncate(p, 0) },
		"random":    func(p string) error { return os.WriteFile(p, []byte(harness.Noise(9, 64<<10)), 0o660) },
		"middle overwritten": func(p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			if _, err := f.WriteAt([]byte(harness.Noise(3, 4096)), 2048); err != nil {
				return err
			}
			return f.Close()
		},
	}
	h := newHost(t)
	aci := harness.Busybox(t, nil)
	want := h.Fetch(aci)
	h.Fetch(smallImage(t, "example.com/small", "1", 1))
	layout := harness.WriteLayout(t, busyboxOCI(t, harness.OCIOptions{}))
	h.Fetch("oci:" + layout)
	h.OK("run", "--net=host", want, "--exec=/bin/true") // stage1 is an image, too
	before := h.OK("image", "list", "--full", "--fields=id,name,size,importtime")
	index := filepath.Join(h.Dir, "cas", "db", "ql.db")
	for what, do := range damage {
		for _, next := range [][]string{{"image", "list"}, {"run", "--net=host", want, "--exec=/bin/true"}, {"fetch", aci}, {"image", "fsck", "--repair"}} {
			if err := do(index); err != nil {
				t.Fatal(err)
			}
			if r := h.Run(next...); r.Status != 0 {
				t.Errorf("index %s, next command: %s", what, r)
			}
			if next[0] == "fetch" {
				continue // importing again gives a new import time
			}
			if after := h.OK("image", "list", "--full", "--fields=id,name,size,importtime"); next[0] != "fetch" && count(after) != count(before) {
				t.Errorf("index %s, %v: images before\n%s\nafter\n%s", what, next, before, after)
			}
		}
		h.OK("image", "fsck")
	}
}

func count(list string) int { return strings.Count(list, "\n") }
