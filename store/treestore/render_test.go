// SPDX-License-Identifier: Apache-2.0

package treestore_test

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
	"github.com/rkt/rkt/v2/store/treestore"
)

type file = storetest.File

// aci imports an image and returns its key and the length of its archive.
func (s *stores) aci(t testing.TB, m *appc.ImageManifest, files ...file) (appc.ImageID, int) {
	t.Helper()
	data := storetest.ACI(t, m, files...)
	id, err := s.images.ImportACI(t.Context(), bytes.NewReader(data), imagestore.ImportOptions{})
	must(t, err)
	return id.Key(), len(data)
}

func (s *stores) oci(t testing.TB, name string, layers ...[]byte) appc.ImageID {
	t.Helper()
	id, err := storetest.Import(t.Context(), s.images, storetest.OCI(t, name, layers...))
	must(t, err)
	return id.Key()
}

func (s *stores) render(t testing.TB, key appc.ImageID) treestore.Tree {
	t.Helper()
	tree, err := s.trees.Render(t.Context(), key)
	must(t, err)
	return tree
}

// ls lists the names below a directory of the CAS directory.
func (s *stores) ls(t testing.TB, elem ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(append([]string{s.dir}, elem...)...))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// copied is the content of an image as an app would see it: path to content.
func (s *stores) copied(t testing.TB, tree treestore.Tree) map[string]string {
	t.Helper()
	dst := t.TempDir()
	must(t, s.trees.CopyTo(t.Context(), tree, dst, 0, 0))
	got := map[string]string{}
	must(t, filepath.WalkDir(dst, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dst, path)
		switch {
		case err != nil || rel == ".":
		case d.Type().IsRegular():
			var b []byte
			b, err = os.ReadFile(path)
			got[rel] = string(b)
		case d.IsDir():
			got[rel+"/"] = ""
		default:
			var target string
			target, err = os.Readlink(path)
			got[rel] = "-> " + target
		}
		return err
	}))
	return got
}

func TestRenderACI(t *testing.T) {
	s := open(t)
	m := storetest.Manifest("example.com/app", "version", "1")
	key, size := s.aci(t, m, file{Name: "etc/"}, file{Name: "etc/motd", Content: "hello"}, file{Name: "link", Target: "etc/motd"})
	tree := s.render(t, key)
	sum := sha512.Sum512([]byte(key))
	if want := fmt.Sprintf("deps-sha512-%x", sum[:32]); tree.ID != want || treestore.ID(string(key)) != want {
		t.Errorf("ID %s, want %s", tree.ID, want)
	}
	dir := filepath.Join(s.dir, "tree", tree.ID)
	if diff := cmp.Diff([]string{dir + "/rootfs"}, tree.Lowers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"hash", "image", "manifest", "rendered", "rootfs"}, s.ls(t, "tree", tree.ID)); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]int{"hash": 71, "image": 71, "rendered": 0} {
		st, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if int(st.Size()) != want {
			t.Errorf("%s has %d bytes, want %d", name, st.Size(), want)
		}
	}
	manifest, err := m.Marshal()
	must(t, err)
	if got, err := os.ReadFile(filepath.Join(dir, "manifest")); err != nil || !bytes.Equal(got, manifest) {
		t.Errorf("manifest = %s, %v", got, err)
	}
	treeSize, err := layer.TreeSize(dir)
	must(t, err)
	if got := s.size(t, key); got != int64(size)+treeSize {
		t.Errorf("listed size %d, want %d + %d", got, size, treeSize)
	}
	want := map[string]string{"etc/": "", "etc/motd": "hello", "link": "-> etc/motd"}
	if diff := cmp.Diff(want, s.copied(t, tree)); diff != "" {
		t.Error(diff)
	}
	if names := s.ls(t, "unpack"); len(names) > 0 {
		t.Errorf("scratch was left: %v", names)
	}
	for name, want := range map[string]fs.FileMode{
		"tree": 0o700 | fs.ModeSetgid, "treeinfo": 0o700 | fs.ModeSetgid, "unpack": 0o700 | fs.ModeSetgid,
		"treestorelocks": 0o700 | fs.ModeSetgid, "tree/" + tree.ID: 0o755, "tree/" + tree.ID + "/rootfs": 0o755,
		"tree/" + tree.ID + "/rootfs/etc": 0o755,
	} {
		st, err := os.Stat(filepath.Join(s.dir, name))
		must(t, err)
		if st.Mode()&^fs.ModeDir != want {
			t.Errorf("%s has mode %v, want %v", name, st.Mode(), want)
		}
	}
}

func (s *stores) size(t testing.TB, key appc.ImageID) int64 {
	t.Helper()
	l, err := s.images.List(t.Context())
	must(t, err)
	for _, i := range l {
		if i.ID == key {
			return i.Size
		}
	}
	t.Fatalf("image %s is not listed", key)
	return 0
}

func TestRenderOCI(t *testing.T) {
	s := open(t)
	key := s.oci(t, "example.com/oci",
		storetest.Tar(t, file{Name: "dir/", Mode: 0o700}, file{Name: "dir/a", Content: "1"}, file{Name: "b", Content: "1"}, file{Name: "gone", Content: "1"}),
		storetest.Tar(t, file{Name: "dir/a", Content: "22"}, file{Name: ".wh.gone"}),
		storetest.Tar(t, file{Name: "c", Target: "b"}))
	tree := s.render(t, key)
	if len(tree.Lowers) != 4 || !strings.HasSuffix(tree.Lowers[0], "/"+tree.ID+"/rootfs") {
		t.Errorf("Lowers = %v", tree.Lowers)
	}
	want := map[string]string{
		"dir/": "", "dir/a": "22", "b": "1", "c": "-> b", "dev/": "", "dev/fd": "-> /proc/self/fd",
		"dev/stdin": "-> /proc/self/fd/0", "dev/stdout": "-> /dev/console", "dev/stderr": "-> /dev/console",
	}
	if diff := cmp.Diff(want, s.copied(t, tree)); diff != "" {
		t.Error(diff)
	}
	// The directory the second layer did not speak of keeps its mode.
	st, err := os.Stat(filepath.Join(tree.Lowers[0], "dir"))
	must(t, err)
	if st.Mode().Perm() != 0o700 {
		t.Errorf("fix-up has mode %v", st.Mode())
	}
	var sum int64
	for _, id := range s.ls(t, "tree") {
		n, err := layer.TreeSize(filepath.Join(s.dir, "tree", id))
		must(t, err)
		sum += n
	}
	rec, err := s.images.Record(key)
	must(t, err)
	if got := s.size(t, key); got != rec.Size+sum {
		t.Errorf("listed size %d, want %d + %d", got, rec.Size, sum)
	}
}

// TestOCIAndACISameTree: the exported archive, imported anew, is the same tree.
func TestOCIAndACISameTree(t *testing.T) {
	s := open(t)
	key := s.oci(t, "example.com/oci",
		storetest.Tar(t, file{Name: "bin/"}, file{Name: "bin/a", Content: "x", Mode: 0o4755}, file{Name: "bin/b", Target: "=bin/a"}),
		storetest.Tar(t, file{Name: "bin/a", Content: "y"}))
	want := s.copied(t, s.render(t, key))
	var data bytes.Buffer
	must(t, s.images.WriteACI(t.Context(), key, &data))
	other := openAt(t, t.TempDir())
	id, err := other.images.ImportACI(t.Context(), &data, imagestore.ImportOptions{WantID: key})
	must(t, err)
	tree := other.render(t, id.Key())
	if len(tree.Lowers) != 1 {
		t.Errorf("an ACI has %d lower directories", len(tree.Lowers))
	}
	if diff := cmp.Diff(want, other.copied(t, tree)); diff != "" {
		t.Error(diff)
	}
}

// TestDamage changes a tree in ways an administrator or a bug may: Render
// notices by lstat alone, and makes the tree anew.
func TestDamage(t *testing.T) {
	s := open(t)
	aciKey, _ := s.aci(t, storetest.Manifest("example.com/aci"), file{Name: "d/"}, file{Name: "d/f", Content: "content"}, file{Name: "l", Target: "d/f"})
	ociKey := s.oci(t, "example.com/oci", storetest.Tar(t, file{Name: "d/"}, file{Name: "d/f", Content: "content"}, file{Name: "l", Target: "d/f"}))
	for name, harm := range map[string]func(rootfs string) error{
		"deleted":          func(r string) error { return os.Remove(r + "/d/f") },
		"deleted link":     func(r string) error { return os.Remove(r + "/l") },
		"deleted tree":     func(r string) error { return os.RemoveAll(r) },
		"added":            func(r string) error { return os.WriteFile(r+"/new", nil, 0o644) },
		"same size":        func(r string) error { return os.WriteFile(r+"/d/f", []byte("CONTENT"), 0o644) },
		"mode":             func(r string) error { return os.Chmod(r+"/d/f", 0o4755) },
		"owner":            func(r string) error { return os.Chown(r+"/d", 1, 1) },
		"replaced by link": func(r string) error { return errors.Join(os.Remove(r+"/d/f"), os.Symlink("/etc/passwd", r+"/d/f")) },
		"hash gone":        func(r string) error { return os.Remove(r + "/../hash") },
		"hash wrong":       func(r string) error { return os.WriteFile(r+"/../hash", []byte("sha512-00"), 0o644) },
		"marker gone":      func(r string) error { return os.Remove(r + "/../rendered") },
		"index gone": func(r string) error {
			return os.Remove(filepath.Join(s.dir, "treeinfo", filepath.Base(filepath.Dir(r))))
		},
		"index torn": func(r string) error {
			return os.Truncate(filepath.Join(s.dir, "treeinfo", filepath.Base(filepath.Dir(r))), 20)
		},
		"note torn": func(r string) error {
			return os.Truncate(filepath.Join(s.dir, "treeinfo", filepath.Base(filepath.Dir(r))+".json"), 3)
		},
	} {
		for kind, key := range map[string]appc.ImageID{"ACI": aciKey, "OCI": ociKey} {
			t.Run(kind+" "+name, func(t *testing.T) {
				tree := s.render(t, key)
				want := s.copied(t, tree)
				lower := tree.Lowers[len(tree.Lowers)-1]
				before := inode(t, filepath.Dir(lower))
				must(t, harm(lower))
				r, err := s.trees.Verify(t.Context(), key)
				must(t, err)
				if !r.Rendered || r.Damage == nil {
					t.Errorf("Verify = %+v", r)
				}
				tree = s.render(t, key)
				if diff := cmp.Diff(want, s.copied(t, tree)); diff != "" {
					t.Error(diff)
				}
				if inode(t, filepath.Dir(lower)) == before {
					t.Error("the tree was repaired in place")
				}
				r, err = s.trees.Verify(t.Context(), key)
				if err != nil || r.Damage != nil {
					t.Errorf("after rendering: %+v, %v", r, err)
				}
				again := inode(t, filepath.Dir(lower))
				s.render(t, key)
				if inode(t, filepath.Dir(lower)) != again {
					t.Error("rendered a third time")
				}
			})
		}
	}
	must(t, s.trees.GC(t.Context(), nil, nil))
	for _, name := range []string{"tree", "treeinfo", "unpack", "treestorelocks"} {
		if left := s.ls(t, name); len(left) > 0 {
			t.Errorf("%s after GC: %v", name, left)
		}
	}
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	st, err := os.Stat(path)
	must(t, err)
	return st.Sys().(*syscall.Stat_t).Ino
}

// TestVerifyContent: a change lstat cannot see, as of a dying disk.
func TestVerifyContent(t *testing.T) {
	s := open(t)
	aciKey, _ := s.aci(t, storetest.Manifest("example.com/aci"), file{Name: "f", Content: "content"})
	dep, _ := s.aci(t, dependent("example.com/dependent", "example.com/aci"), file{Name: "g", Content: "content"})
	ociKey := s.oci(t, "example.com/oci", storetest.Tar(t, file{Name: "f", Content: "content"}))
	for _, key := range []appc.ImageID{aciKey, dep, ociKey} {
		tree := s.render(t, key)
		lower := tree.Lowers[len(tree.Lowers)-1]
		src := layer.Source{Root: lower, Index: filepath.Join(s.dir, "treeinfo", filepath.Base(filepath.Dir(lower)))}
		must(t, os.WriteFile(lower+"/f", []byte("CONTENT"), 0o644))
		st, err := os.Stat(lower + "/..")
		must(t, err)
		must(t, os.Chtimes(lower+"/f", st.ModTime(), storetestTime))
		must(t, layer.Reindex(t.Context(), src))
		index, err := os.ReadFile(src.Index)
		must(t, err)
		sum := sha512.Sum512(index)
		must(t, os.WriteFile(lower+"/../hash", fmt.Appendf(nil, "sha512-%x", sum[:32]), 0o644))
		if again := s.render(t, key); again.ID != tree.ID {
			t.Fatal("another tree")
		}
		if got, err := os.ReadFile(lower + "/f"); err != nil || string(got) != "CONTENT" {
			t.Fatalf("the change was visible to lstat: %s, %v", got, err)
		}
		r, err := s.trees.Verify(t.Context(), key)
		var changed *layer.ChangedError
		if err != nil || !errors.As(r.Damage, &changed) || changed.Path != "f" {
			t.Fatalf("Verify = %+v, %v", r, err)
		}
		_, err = s.trees.Rebuild(t.Context(), r)
		must(t, err)
		if got, err := os.ReadFile(lower + "/f"); err != nil || string(got) != "content" {
			t.Errorf("after rebuilding: %s, %v", got, err)
		}
		if r, err := s.trees.Verify(t.Context(), key); err != nil || r.Damage != nil {
			t.Errorf("after rebuilding: %+v, %v", r, err)
		}
	}
}

func TestNotRendered(t *testing.T) {
	s := open(t)
	key, _ := s.aci(t, storetest.Manifest("example.com/aci"))
	must(t, s.trees.GC(t.Context(), nil, nil))
	r, err := s.trees.Verify(t.Context(), key)
	if err != nil || r.Rendered || r.TreeID != treestore.ID(string(key)) {
		t.Errorf("Verify = %+v, %v", r, err)
	}
	if _, err := s.trees.Get(t.Context(), r.TreeID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get: %v", err)
	}
	for _, id := range []string{"", "..", "../../etc", "deps-sha512-../../../etc/x", "layer-sha256-" + strings.Repeat("A", 64)} {
		if _, err := s.trees.Get(t.Context(), id); err == nil {
			t.Errorf("Get(%q) found something", id)
		}
	}
	if _, err := s.trees.Render(t.Context(), storetest.ID(nil).Key()); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("Render of no image: %v", err)
	}
}

// TestGC keeps what pods use, with the layers below, after the images are gone.
func TestGC(t *testing.T) {
	s := open(t)
	base := storetest.Tar(t, file{Name: "base", Content: "b"})
	one := s.oci(t, "example.com/one", base, storetest.Tar(t, file{Name: "one", Content: "1"}))
	two := s.oci(t, "example.com/two", base, storetest.Tar(t, file{Name: "two", Content: "2"}))
	aci, _ := s.aci(t, storetest.Manifest("example.com/aci"))
	tree := s.render(t, one)
	want := s.copied(t, tree)
	must(t, s.images.Remove(t.Context(), one))
	if n := len(s.ls(t, "tree")); n != 6 { // three images, three layers
		t.Errorf("%d trees", n)
	}
	sizes := [2]int64{s.size(t, two), s.size(t, aci)}
	var removed []string
	must(t, s.trees.GC(t.Context(), map[string]bool{tree.ID: true, treestore.ID(string(two)): false}, func(id string) { removed = append(removed, id) }))
	if len(removed) != 3 || slices.Contains(removed, tree.ID) {
		t.Errorf("removed %v", removed)
	}
	tree, err := s.trees.Get(t.Context(), tree.ID)
	must(t, err)
	if diff := cmp.Diff(want, s.copied(t, tree)); diff != "" {
		t.Error(diff)
	}
	for i, key := range []appc.ImageID{two, aci} {
		rec, err := s.images.Record(key)
		must(t, err)
		if got := s.size(t, key); got != rec.Size || got >= sizes[i] {
			t.Errorf("listed size %d after GC, archive has %d", got, rec.Size)
		}
		s.render(t, key)
		if got := s.size(t, key); got != sizes[i] {
			t.Errorf("listed size %d after rendering again, was %d", got, sizes[i])
		}
	}
	report, err := s.trees.Fsck(t.Context(), false)
	must(t, err)
	if len(report.Problems)+len(report.Garbage) > 0 || report.Trees == 0 {
		t.Errorf("fsck: %+v", report)
	}
}

// TestAside: what a running pod has mounted stays until no pod uses it.
func TestAside(t *testing.T) {
	s := open(t)
	key := s.oci(t, "example.com/oci", storetest.Tar(t, file{Name: "f", Content: "f"}))
	tree := s.render(t, key)
	mounted, err := os.Open(tree.Lowers[1])
	must(t, err)
	defer func() { must(t, mounted.Close()) }()
	must(t, os.WriteFile(tree.Lowers[1]+"/added", nil, 0o644))
	s.render(t, key)
	inUse := map[string]bool{tree.ID: true}
	must(t, s.trees.GC(t.Context(), inUse, nil))
	if names, err := mounted.Readdirnames(-1); err != nil || len(names) != 2 {
		t.Errorf("what the pod sees: %v, %v", names, err)
	}
	if got := s.ls(t, "unpack"); len(got) != 1 {
		t.Errorf("unpack = %v", got)
	}
	must(t, s.trees.GC(t.Context(), nil, nil))
	if got := s.ls(t, "unpack"); len(got) != 0 {
		t.Errorf("unpack after the pod's end = %v", got)
	}
}

// TestOldTree: a tree of rkt 1 has no index; it is made anew.
func TestOldTree(t *testing.T) {
	s := open(t)
	key, _ := s.aci(t, storetest.Manifest("example.com/aci"), file{Name: "f", Content: "f"})
	must(t, s.trees.GC(t.Context(), nil, nil))
	dir := filepath.Join(s.dir, "tree", treestore.ID(string(key)))
	must(t, os.MkdirAll(dir+"/rootfs", 0o755))
	must(t, os.WriteFile(dir+"/rendered", nil, 0o644))
	tree := s.render(t, key)
	if diff := cmp.Diff(map[string]string{"f": "f"}, s.copied(t, tree)); diff != "" {
		t.Error(diff)
	}
}

func TestRenderConcurrently(t *testing.T) {
	s := open(t)
	key := s.oci(t, "example.com/oci", storetest.Tar(t, file{Name: "a", Content: "a"}), storetest.Tar(t, file{Name: "b", Content: "b"}))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			other := openAt(t, s.dir)
			if i%4 == 0 {
				if err := other.trees.GC(t.Context(), nil, nil); err != nil {
					t.Error(err)
				}
			}
			// Only the prepare lock, which stage0 holds, keeps a tree between
			// Render and its use; so here it may be gone already, but not half.
			tree, err := other.trees.Render(t.Context(), key)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			if err == nil && len(tree.Lowers) != 3 {
				t.Errorf("%+v", tree)
			}
		})
	}
	wg.Wait()
	s.render(t, key)
	if r, err := s.trees.Verify(t.Context(), key); err != nil || r.Damage != nil {
		t.Errorf("Verify = %+v, %v", r, err)
	}
}

func TestCopyShifts(t *testing.T) {
	s := open(t)
	key, _ := s.aci(t, storetest.Manifest("example.com/aci"), file{Name: "f", Content: "f"})
	tree := s.render(t, key)
	dst := t.TempDir()
	must(t, s.trees.CopyTo(t.Context(), tree, dst, 100_000, 65536))
	if uid := owner(t, dst+"/f"); uid != 100_000 {
		t.Errorf("owner %d", uid)
	}
}

// TestUnprivilegedOpen: opening the tree store as somebody else touches nothing of root's.
func TestOpenTouchesNothing(t *testing.T) {
	testenv.NeedsRoot(t)
	dir := t.TempDir()
	openAt(t, dir)
	for _, name := range []string{"tree", "treestorelocks", "unpack", "treeinfo"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
