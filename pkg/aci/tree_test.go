// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, data string, mode os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(data), mode))
	must(t, os.Chmod(path, mode))
}

// layout makes a layout with the files that need no rights.
func layout(t testing.TB) string {
	t.Helper()
	d := t.TempDir()
	write(t, filepath.Join(d, "manifest"), testManifest+"\n", 0o600)
	r := filepath.Join(d, "rootfs")
	write(t, filepath.Join(r, "bin/app"), "program", 0o755)
	write(t, filepath.Join(r, "bin/z"), "", 0o640)
	write(t, filepath.Join(r, "a"), "same", 0o644)
	must(t, os.Link(filepath.Join(r, "a"), filepath.Join(r, "bin/linked")))
	must(t, os.Symlink("/nowhere", filepath.Join(r, "s")))
	must(t, unix.Mkfifo(filepath.Join(r, "fifo"), 0o600))
	must(t, os.Mkdir(filepath.Join(r, "empty"), 0o700))
	l, err := net.Listen("unix", filepath.Join(r, "sock"))
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	must(t, os.Chtimes(filepath.Join(r, "bin/app"), time.Unix(1, 0), time.Unix(1234567890, 999_999_999)))
	return d
}

// contents lists an archive: name, type, mode, link, data.
func contents(t testing.TB, data []byte) []string {
	t.Helper()
	var lines []string
	tr := tar.NewReader(bytes.NewReader(data))
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		must(t, err)
		content, err := io.ReadAll(tr)
		must(t, err)
		lines = append(lines, fmt.Sprintf("%s %c %o %s%.20s", hdr.Name, hdr.Typeflag, hdr.Mode, hdr.Linkname, content))
	}
}

func build(t testing.TB, dir string, o BuildOptions) []byte {
	t.Helper()
	m, err := ValidateLayout(dir)
	must(t, err)
	var b bytes.Buffer
	must(t, BuildLayout(context.Background(), &b, dir, m, o))
	return b.Bytes()
}

func TestBuildLayout(t *testing.T) {
	d := layout(t)
	data := build(t, d, BuildOptions{ModTime: time.Unix(99, 5)})
	want := []string{
		"rootfs 5 755 ",
		"rootfs/a 0 644 same",
		"rootfs/bin 5 755 ",
		"rootfs/bin/app 0 755 program",
		"rootfs/bin/linked 1 644 rootfs/a",
		"rootfs/bin/z 0 640 ",
		"rootfs/empty 5 700 ",
		"rootfs/fifo 6 600 ",
		"rootfs/s 2 777 /nowhere",
		`manifest 0 644 {"acKind":"ImageMani`,
	}
	if d := cmp.Diff(want, contents(t, data)); d != "" {
		t.Error(d)
	}
	if _, err := Validate(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
	if again := build(t, d, BuildOptions{ModTime: time.Unix(99, 5)}); !bytes.Equal(data, again) {
		t.Error("a second build differs")
	}
	times := map[string]int64{}
	tr := tar.NewReader(bytes.NewReader(data))
	for hdr, err := tr.Next(); err == nil; hdr, err = tr.Next() {
		times[hdr.Name] = hdr.ModTime.Unix()
		if hdr.Name == "manifest" && (hdr.Uid != 0 || hdr.Gid != 0 || hdr.Uname != "root" || hdr.Gname != "root") {
			t.Errorf("manifest belongs to %d:%d %s:%s", hdr.Uid, hdr.Gid, hdr.Uname, hdr.Gname)
		}
		if hdr.Name != "manifest" && (hdr.Uid != os.Geteuid() || hdr.Uname != "") {
			t.Errorf("%s belongs to %d %q", hdr.Name, hdr.Uid, hdr.Uname)
		}
	}
	if times["manifest"] != 99 || times["rootfs/bin/app"] != 1234567890 {
		t.Errorf("times: %v", times)
	}
}

func TestBuildClampsTimes(t *testing.T) {
	data := build(t, layout(t), BuildOptions{ModTime: time.Unix(1500000000, 0), ClampTimes: true, OwnerRoot: true})
	tr := tar.NewReader(bytes.NewReader(data))
	for hdr, err := tr.Next(); err == nil; hdr, err = tr.Next() {
		want := int64(1500000000)
		if hdr.Name == "rootfs/bin/app" {
			want = 1234567890
		}
		if hdr.ModTime.Unix() != want {
			t.Errorf("%s: %d", hdr.Name, hdr.ModTime.Unix())
		}
		if hdr.Uid != 0 || hdr.Gid != 0 || hdr.Uname != "root" || hdr.Gname != "root" {
			t.Errorf("%s belongs to %d:%d %s:%s", hdr.Name, hdr.Uid, hdr.Gid, hdr.Uname, hdr.Gname)
		}
	}
}

func TestValidateLayoutFaults(t *testing.T) {
	for name, c := range map[string]struct {
		change func(d string) error
		want   string
	}{
		"no manifest": {func(d string) error { return os.Remove(d + "/manifest") }, "no image manifest found in layout"},
		"no rootfs":   {func(d string) error { return os.RemoveAll(d + "/rootfs") }, "no rootfs found in layout"},
		"rootfs a file": {func(d string) error {
			return errors.Join(os.RemoveAll(d+"/rootfs"), os.WriteFile(d+"/rootfs", nil, 0o600))
		}, "rootfs is not a directory"},
		"rootfs a link": {func(d string) error { return errors.Join(os.RemoveAll(d+"/rootfs"), os.Symlink("/", d+"/rootfs")) }, "rootfs is not a directory"},
		"other file":    {func(d string) error { return os.WriteFile(d+"/README", nil, 0o600) }, `unrecognized file path in layout: "README"`},
		"bad manifest":  {func(d string) error { return os.WriteFile(d+"/manifest", []byte("{"), 0o600) }, "image manifest validation failed: line 1, column 1"},
		"manifest link": {func(d string) error {
			return errors.Join(os.Remove(d+"/manifest"), os.Symlink("/etc/passwd", d+"/manifest"))
		}, "manifest is not a regular file"},
		"no directory": {os.RemoveAll, "no such file or directory"},
	} {
		d := layout(t)
		must(t, c.change(d))
		if _, err := ValidateLayout(d); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func pack(t testing.TB, rootfs string, o PackOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, PackTree(context.Background(), &b, rootfs, []byte(testManifest), o))
	return b.Bytes()
}

func TestPackTree(t *testing.T) {
	d := layout(t)
	data := pack(t, filepath.Join(d, "rootfs"), PackOptions{Skip: func(name string) bool { return name == "bin" || name == "empty" }})
	want := []string{
		`manifest 0 644 {"acKind":"ImageMani`,
		"rootfs 5 755 ",
		"rootfs/a 0 644 same",
		"rootfs/fifo 6 600 ",
		"rootfs/s 2 777 /nowhere",
	}
	if d := cmp.Diff(want, contents(t, data)); d != "" {
		t.Error(d)
	}
	if m, err := Validate(bytes.NewReader(data)); err != nil || m.Name != "example.com/a" {
		t.Error(err)
	}
	if err := PackTree(context.Background(), io.Discard, d+"/manifest", nil, PackOptions{}); !errors.Is(err, ErrRootFSNotDir) {
		t.Errorf("packing a file: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := PackTree(ctx, io.Discard, d, nil, PackOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPackHoles(t *testing.T) {
	d := t.TempDir()
	const size = 1 << 28
	f, err := os.Create(filepath.Join(d, "holes"))
	must(t, err)
	for _, offset := range []int64{0, 100 << 20, 200 << 20} {
		_, err := f.WriteAt([]byte("data"), offset)
		must(t, err)
	}
	must(t, f.Truncate(size))
	must(t, f.Close())
	long := strings.Repeat("ü", 100)
	must(t, os.WriteFile(filepath.Join(d, long), nil, 0o600))
	must(t, os.Truncate(filepath.Join(d, long), 200_000))

	data := pack(t, d, PackOptions{})
	if len(data) > 1<<20 {
		t.Fatalf("holes were written: %d bytes", len(data))
	}
	if _, err := Validate(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(bytes.NewReader(data))
	sizes := map[string]int64{}
	for hdr, err := tr.Next(); err == nil; hdr, err = tr.Next() {
		sizes[hdr.Name] = hdr.Size
		if hdr.Name != "rootfs/holes" {
			continue
		}
		at := int64(0)
		buffer := make([]byte, 1<<20)
		for at < size {
			n, err := io.ReadFull(tr, buffer)
			must(t, err)
			want := ""
			if at == 0 || at == 100<<20 || at == 200<<20 {
				want = "data"
			}
			if got := strings.TrimRight(string(buffer[:n]), "\x00"); got != want {
				t.Fatalf("at %d: %.20q", at, got)
			}
			at += int64(n)
		}
	}
	if sizes["rootfs/holes"] != size || sizes["rootfs/"+long] != 200_000 || sizes["manifest"] == 0 {
		t.Errorf("sizes: %v", sizes)
	}
	var copied bytes.Buffer
	must(t, Patch(&copied, bytes.NewReader(data), func(b []byte) ([]byte, error) { return b, nil }))
	if !bytes.Equal(copied.Bytes(), data) {
		t.Error("patching changed a sparse archive")
	}
}

func TestPackXattrs(t *testing.T) {
	d := t.TempDir()
	path := filepath.Join(d, "a")
	write(t, path, "x", 0o644)
	if err := unix.Setxattr(path, "user.note", []byte("v\x00\xff"), 0); errors.Is(err, unix.ENOTSUP) {
		t.Skip("the file system of the temporary directory has no user attributes")
	} else {
		must(t, err)
	}
	must(t, unix.Setxattr(path, "user.overlay.opaque", []byte("y"), 0))
	must(t, unix.Setxattr(d, "user.dir", []byte("1"), 0))
	got := map[string]map[string]string{}
	tr := tar.NewReader(bytes.NewReader(pack(t, d, PackOptions{})))
	for hdr, err := tr.Next(); err == nil; hdr, err = tr.Next() {
		got[hdr.Name] = hdr.PAXRecords
	}
	want := map[string]map[string]string{
		"manifest": nil,
		"rootfs":   {"SCHILY.xattr.user.dir": "1"},
		"rootfs/a": {"SCHILY.xattr.user.note": "v\x00\xff"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestPackAsRoot(t *testing.T) {
	testenv.NeedsRoot(t)
	d := t.TempDir()
	write(t, filepath.Join(d, "cap"), "x", 0o4755)
	must(t, os.Lchown(filepath.Join(d, "cap"), 100_000, 100_033))
	must(t, os.Chmod(filepath.Join(d, "cap"), 0o755|fs.ModeSetuid))
	must(t, unix.Mknod(filepath.Join(d, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, os.Chmod(filepath.Join(d, "null"), 0o666))
	must(t, os.Lchown(filepath.Join(d, "null"), 165_535, 100_000))
	must(t, os.Lchown(d, 100_000, 100_000))
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	must(t, unix.Setxattr(filepath.Join(d, "cap"), "security.capability", []byte(capability), 0))
	data := pack(t, d, PackOptions{Shift: 100_000, Count: 65_536})
	var lines []string
	tr := tar.NewReader(bytes.NewReader(data))
	for hdr, err := tr.Next(); err == nil; hdr, err = tr.Next() {
		lines = append(lines, fmt.Sprintf("%s %d:%d %o %d:%d %t", hdr.Name, hdr.Uid, hdr.Gid, hdr.Mode, hdr.Devmajor, hdr.Devminor,
			hdr.PAXRecords["SCHILY.xattr.security.capability"] == capability))
	}
	want := []string{
		"manifest 0:0 644 0:0 false",
		"rootfs 0:0 755 0:0 false",
		"rootfs/cap 0:33 4755 0:0 true",
		"rootfs/null 65535:0 666 1:3 false",
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
	err := PackTree(context.Background(), io.Discard, d, nil, PackOptions{Shift: 100_000, Count: 65_535})
	if err == nil || err.Error() != `owner of "rootfs/null": ID 165535 is outside of the pod's range of 65535 IDs from 100000` {
		t.Errorf("%v", err)
	}
}

func TestPackStaysOnFileSystem(t *testing.T) {
	testenv.NeedsRoot(t)
	d := t.TempDir()
	must(t, os.Mkdir(filepath.Join(d, "mnt"), 0o755))
	write(t, filepath.Join(d, "bound"), "below", 0o644)
	must(t, unix.Mount("tmpfs", filepath.Join(d, "mnt"), "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(d, "mnt"), unix.MNT_DETACH)) })
	write(t, filepath.Join(d, "mnt/secret"), "x", 0o644)
	must(t, unix.Mount("/etc/hostname", filepath.Join(d, "bound"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(d, "bound"), unix.MNT_DETACH)) })
	for _, line := range contents(t, pack(t, d, PackOptions{})) {
		if strings.Contains(line, "secret") || strings.Contains(line, "bound") {
			t.Errorf("packed %s", line)
		}
	}
}

// A tree without user names that archive/tar could not write.
func TestPackOddNames(t *testing.T) {
	d := t.TempDir()
	names := []string{"new\nline", "bytes\xff\xfe", strings.Repeat("n", 255), " ", "-", "a=b"}
	for _, n := range names {
		write(t, filepath.Join(d, n), n, 0o644)
	}
	deep := filepath.Join(d, strings.Repeat(strings.Repeat("d", 200)+"/", 5))
	must(t, os.MkdirAll(deep, 0o755))
	data := pack(t, d, PackOptions{})
	got := map[string]bool{}
	if _, err := List(bytes.NewReader(data), func(name string, _ *tar.Header) error { got[name] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if !got["rootfs/"+n] {
			t.Errorf("%q is missing", n)
		}
	}
}

func TestWriterRefusesOtherNames(t *testing.T) {
	w := NewWriter(io.Discard)
	if err := w.Add(&tar.Header{Name: "etc"}, nil); err == nil {
		t.Error("a name outside of rootfs was written")
	}
	if _, err := (&appc.ImageManifest{}).Marshal(); err == nil {
		t.Error("an empty manifest is valid")
	}
}
