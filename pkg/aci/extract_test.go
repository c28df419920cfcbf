// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExtract(t *testing.T) {
	src := layout(t)
	must(t, os.WriteFile(filepath.Join(src, "rootfs/holes"), bytes.Repeat([]byte("x"), copyBufferSize), 0o644))
	must(t, os.Truncate(filepath.Join(src, "rootfs/holes"), 10<<20))
	must(t, os.Chmod(filepath.Join(src, "rootfs/bin"), 0o555))
	data := pack(t, filepath.Join(src, "rootfs"), PackOptions{})
	dst := t.TempDir()
	res, err := Extract(context.Background(), bytes.NewReader(data), dst, ExtractOptions{MaxBytes: 1 << 30})
	must(t, err)
	if string(res.Manifest) != testManifest || res.Skipped != 0 {
		t.Errorf("%+v", res)
	}
	// The tree is the same if its archive is.
	if again := pack(t, dst, PackOptions{}); !bytes.Equal(again, data) {
		t.Errorf("the copy differs:\n%s\n%s", contents(t, data), contents(t, again))
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dst, "holes"), &st))
	if st.Blocks*512 > 1<<20 {
		t.Errorf("holes were filled: %d blocks", st.Blocks)
	}
	must(t, os.Chmod(filepath.Join(src, "rootfs/bin"), 0o755))
	must(t, os.Chmod(filepath.Join(dst, "bin"), 0o755))
}

func TestExtractUnprivileged(t *testing.T) {
	setuid := file("rootfs/setuid", "x")
	setuid.Mode = 0o6755
	sticky := dir("rootfs/tmp")
	sticky.Mode = 0o1777
	closed := dir("rootfs/closed")
	closed.Mode, closed.ModTime = 0o500, time.Unix(77, 0)
	data := archive(t, manifest(), dir("rootfs"), setuid, sticky,
		file("rootfs/implied/file", ""), closed, file("rootfs/closed/deeper/file", ""), dir("rootfs/closed/deeper"),
		entry{tar.Header{Typeflag: tar.TypeChar, Name: "rootfs/null", Devmajor: 1, Devminor: 3}, ""},
		entry{tar.Header{Typeflag: tar.TypeReg, Name: "rootfs/cap", PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}}, ""})
	dst := t.TempDir()
	res, err := Extract(context.Background(), bytes.NewReader(data), dst, ExtractOptions{})
	must(t, err)
	if res.Skipped != 1 {
		t.Errorf("skipped %d", res.Skipped)
	}
	for name, want := range map[string]fs.FileMode{
		"setuid": 0o755, "tmp": fs.ModeDir | fs.ModeSticky | 0o777, "implied": fs.ModeDir | 0o755, "closed": fs.ModeDir | 0o500,
	} {
		info, err := os.Lstat(filepath.Join(dst, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Lstat(filepath.Join(dst, "closed")); err != nil || info.ModTime().Unix() != 77 {
		t.Errorf("time of a directory with content: %v, %v", info.ModTime(), err)
	}
	if _, err := unix.Getxattr(filepath.Join(dst, "cap"), "security.capability", make([]byte, 100)); err == nil {
		t.Error("a capability was set")
	}
}

func TestExtractHostile(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"through a link":    {archive(t, manifest(), dir("rootfs"), link(tar.TypeSymlink, "rootfs/l", ".."), file("rootfs/l/x", "")), "not a directory"},
		"climbing":          {archive(t, manifest(), dir("rootfs"), file("rootfs/../x", "")), "unrecognized file path"},
		"hard link to link": {archive(t, manifest(), dir("rootfs"), link(tar.TypeSymlink, "rootfs/l", "/etc/passwd"), link(tar.TypeLink, "rootfs/h", "rootfs/l")), "not a regular file"},
		"hard link to none": {archive(t, manifest(), dir("rootfs"), link(tar.TypeLink, "rootfs/h", "rootfs/l")), "no such file"},
		"hard link by link": {
			archive(t, manifest(), dir("rootfs"), link(tar.TypeSymlink, "rootfs/l", "/etc"), link(tar.TypeLink, "rootfs/h", "rootfs/l/passwd")),
			"escapes",
		},
		"bytes":    {archive(t, manifest(), dir("rootfs"), file("rootfs/x", strings.Repeat("x", 2000))), "limit"},
		"manifest": {archive(t, file("manifest", "{}"), dir("rootfs")), "image manifest validation failed"},
	} {
		parent := t.TempDir()
		dst := filepath.Join(parent, "dst")
		must(t, os.Mkdir(dst, 0o755))
		_, err := Extract(context.Background(), bytes.NewReader(c.data), dst, ExtractOptions{MaxBytes: 1000})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(parent); len(entries) != 1 {
			t.Errorf("%s: wrote outside: %v", name, entries)
		}
	}
}
