// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// list reads an archive back: a line for each entry.
func list(t *testing.T, archive []byte) []string {
	t.Helper()
	var lines []string
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s has an owner or a time: %+v", h.Name, h)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Join([]string{string(h.Typeflag), h.Name, h.FileInfo().Mode().String(), h.Linkname, string(body)}, " "))
	}
}

func TestTreeWrite(t *testing.T) {
	x := tree{}
	x.file("b/prog", 0o755, []byte("x"))
	x.hardlink("b/prog2", "b/prog")
	x.symlink("a", "b")
	x.dir("tmp", 0o1777)
	archive, err := x.write([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"0 manifest -rw-r--r--  {}",
		"5 rootfs/ drwxr-xr-x  ",
		"2 rootfs/a Lrwxrwxrwx b ",
		"5 rootfs/b/ drwxr-xr-x  ",
		"0 rootfs/b/prog -rwxr-xr-x  x",
		"1 rootfs/b/prog2 -rwxr-xr-x rootfs/b/prog ",
		"5 rootfs/tmp/ dtrwxrwxrwx  ",
	}
	if diff := cmp.Diff(want, list(t, archive)); diff != "" {
		t.Error(diff)
	}
	again, err := x.write([]byte("{}"))
	if err != nil || !bytes.Equal(archive, again) {
		t.Error("equal trees, other bytes", err)
	}
	// The target of a hard link has to come first.
	x.hardlink("aa", "b/prog")
	if _, err := x.write(nil); err == nil {
		t.Error("a hard link to what comes later")
	}
}

// Modes in a checkout depend on the umask.
func TestTreeAddDir(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d", "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("f", filepath.Join(dir, "d", "l")); err != nil {
		t.Fatal(err)
	}
	x := tree{}
	if err := x.addDir(dir); err != nil {
		t.Fatal(err)
	}
	archive, err := x.write(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"0 manifest -rw-r--r--  ",
		"5 rootfs/ drwxr-xr-x  ",
		"5 rootfs/d/ drwxr-xr-x  ",
		"0 rootfs/d/f -rw-r--r--  x",
		"2 rootfs/d/l Lrwxrwxrwx f ",
	}
	if diff := cmp.Diff(want, list(t, archive)); diff != "" {
		t.Error(diff)
	}
}
