// SPDX-License-Identifier: Apache-2.0

package deltree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

func TestRemoveKeepsWhatLinksPointTo(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	write(t, filepath.Join(outside, "sub", "precious"))
	tree := filepath.Join(dir, "tree")
	write(t, filepath.Join(tree, "a", "file"))
	for _, link := range []string{"dirlink", "a/up", "a/filelink"} {
		target := outside
		if filepath.Base(link) == "filelink" {
			target = filepath.Join(outside, "sub", "precious")
		}
		if err := os.Symlink(target, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Remove(tree); err != nil {
		t.Fatal(err)
	}
	wantGone(t, tree)
	if _, err := os.Stat(filepath.Join(outside, "sub", "precious")); err != nil {
		t.Errorf("a file outside the tree: %v", err)
	}
}

func TestRemoveTopLevelLink(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "outside", "f"))
	link := filepath.Join(dir, "link")
	if err := os.Symlink("outside", link); err != nil {
		t.Fatal(err)
	}
	if err := Remove(link); err != nil {
		t.Fatal(err)
	}
	wantGone(t, link)
	if _, err := os.Stat(filepath.Join(dir, "outside", "f")); err != nil {
		t.Error(err)
	}
}

func TestRemoveIsIdempotent(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"missing", "missing/below"} {
		if err := Remove(filepath.Join(dir, path)); err != nil {
			t.Errorf("Remove(%s) = %v", path, err)
		}
	}
}

func TestRemoveAtRefusesPaths(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "/a"} {
		if err := RemoveAt(unix.AT_FDCWD, name); err == nil {
			t.Errorf("RemoveAt(%q): want an error", name)
		}
	}
}

func TestRemoveDeepTree(t *testing.T) {
	const depth = 1500
	tree := filepath.Join(t.TempDir(), "tree")
	fd := mkdirat(t, unix.AT_FDCWD, tree)
	for range depth {
		sub := mkdirat(t, fd, "d")
		// A name the deleter would use for itself.
		other := mkdirat(t, fd, ".deep-1")
		_ = unix.Close(other)
		_ = unix.Close(fd)
		fd = sub
	}
	_ = unix.Close(fd)
	if err := Remove(tree); err != nil {
		t.Fatal(err)
	}
	wantGone(t, tree)
}

func TestRemoveStopsAtMounts(t *testing.T) {
	testenv.NeedsRoot(t)
	dir := t.TempDir()
	precious := filepath.Join(dir, "outside", "precious")
	write(t, precious)
	tree := filepath.Join(dir, "tree")
	write(t, filepath.Join(tree, "file"))
	mountPoint := filepath.Join(tree, "volume")
	if err := os.Mkdir(mountPoint, 0o755); err != nil {
		t.Fatal(err)
	}
	inNamespace(t, func() error {
		// Of the same file system: comparing devices would not notice.
		if err := unix.Mount(filepath.Dir(precious), mountPoint, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := Remove(tree); err == nil {
			return errors.New("want an error for the mounted directory")
		}
		if _, err := os.Stat(precious); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(tree, "file")); !errors.Is(err, fs.ErrNotExist) {
			return errors.New("what is not mounted should be deleted")
		}
		return unix.Unmount(mountPoint, 0)
	})
	if err := Remove(tree); err != nil {
		t.Errorf("second attempt: %v", err)
	}
	wantGone(t, tree)
}

func inNamespace(t *testing.T, fn func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func mkdirat(t *testing.T, dirfd int, name string) int {
	t.Helper()
	if err := unix.Mkdirat(dirfd, name, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Openat(dirfd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there (%v)", path, err)
	}
}
