// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

var when = time.Unix(1_500_000_000, 123_456_789)

// file, dir and the like are tar entries in short form.
func file(name, content string) tarEntry {
	return tarEntry{h: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: when}, content: content}
}

func dir(name string, mode int64) tarEntry {
	return tarEntry{h: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, ModTime: when}}
}

func symlink(name, target string) tarEntry {
	return tarEntry{h: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: when}}
}

func link(name, target string) tarEntry {
	return tarEntry{h: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, ModTime: when}}
}

func node(kind byte, name string, major, minor int64) tarEntry {
	return tarEntry{h: tar.Header{Typeflag: kind, Name: name, Mode: 0o620, Devmajor: major, Devminor: minor, ModTime: when}}
}

func (e tarEntry) owned(uid, gid int) tarEntry { e.h.Uid, e.h.Gid = uid, gid; return e }
func (e tarEntry) mode(m int64) tarEntry       { e.h.Mode = m; return e }
func (e tarEntry) xattr(name, value string) tarEntry {
	e.h.PAXRecords = map[string]string{paxXattr + name: value}
	return e
}

type tarEntry struct {
	h       tar.Header
	content string
}

func makeTar(t testing.TB, entries ...tarEntry) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, e := range entries {
		e.h.Format = tar.FormatPAX
		if err := tw.WriteHeader(&e.h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func unpack(t testing.TB, data []byte, o UnpackOptions) (Source, *Result) {
	t.Helper()
	s, res, err := tryUnpack(t, data, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, res
}

func tryUnpack(t testing.TB, data []byte, o UnpackOptions) (Source, *Result, error) {
	t.Helper()
	base := t.TempDir()
	s := Source{Root: filepath.Join(base, "rootfs"), Index: filepath.Join(base, "index")}
	if err := os.Mkdir(s.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	res, err := Unpack(t.Context(), bytes.NewReader(data), s.Root, o)
	if err != nil {
		return s, nil, err
	}
	if err := res.WriteIndex(t.Context(), s.Index); err != nil {
		t.Fatal(err)
	}
	return s, res, nil
}

// show lists a merge in a form that is easy to compare.
func show(t testing.TB, layers []Source) []string {
	t.Helper()
	var out []string
	err := Merge(t.Context(), layers, func(m *Merged) error {
		line := fmt.Sprintf("%c %s %o %d:%d", m.Type, m.Path, m.Mode, m.UID, m.GID)
		if m.Type == Symlink {
			line += " -> " + m.Target
		}
		if m.Surviving != "" {
			line += " = " + m.Surviving
		}
		if m.Type != Directory {
			line += fmt.Sprintf(" @%d", m.Layer)
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMerge(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, tc := range []struct {
		name   string
		layers [][]tarEntry
		want   []string
	}{
		{
			"upper file replaces and metadata of the upper explicit directory",
			[][]tarEntry{
				{dir("etc/", 0o755), file("etc/a", "1"), file("etc/b", "2")},
				{dir("etc/", 0o700), file("etc/a", "3").owned(100000, 70000)},
			},
			[]string{"d . 755 0:0", "d etc 700 0:0", "f etc/a 644 100000:70000 @1", "f etc/b 644 0:0 @0"},
		},
		{
			"implicit directory keeps the metadata below",
			[][]tarEntry{
				{dir("./", 0o711), dir("etc/", 0o750), file("etc/a", "1")},
				{file("etc/c", "3")},
			},
			[]string{"d . 711 0:0", "d etc 750 0:0", "f etc/a 644 0:0 @0", "f etc/c 644 0:0 @1"},
		},
		{
			"whiteout of a file and of a directory",
			[][]tarEntry{
				{file("a", "1"), dir("d/", 0o755), file("d/x", "1"), file("d-y", "2")},
				{file(".wh.a", ""), file(".wh.d", "")},
			},
			[]string{"d . 755 0:0", "f d-y 644 0:0 @0"},
		},
		{
			"whiteout spares what the same layer supplies",
			[][]tarEntry{
				{dir("d/", 0o755), file("d/old", "1")},
				{file(".wh.d", ""), dir("d/", 0o755), file("d/new", "2")},
				{file("e", "1"), file(".wh.e", "")},
			},
			[]string{"d . 755 0:0", "d d 755 0:0", "f d/new 644 0:0 @1", "f e 644 0:0 @2"},
		},
		{
			"opaque directory with the mark after its content",
			[][]tarEntry{
				{dir("d/", 0o755), file("d/old", "1"), dir("d/sub/", 0o755), file("d/sub/x", "1")},
				{dir("d/", 0o755), file("d/new", "2"), file("d/.wh..wh..opq", "")},
			},
			[]string{"d . 755 0:0", "d d 755 0:0", "f d/new 644 0:0 @1"},
		},
		{
			"file over directory over file",
			[][]tarEntry{
				{file("p", "1")},
				{dir("p/", 0o755), file("p/q", "2")},
				{file("p", "3")},
				{file("other", "")},
			},
			[]string{"d . 755 0:0", "f other 644 0:0 @3", "f p 644 0:0 @2"},
		},
		{
			"content below a hidden directory does not come back",
			[][]tarEntry{
				{dir("p/", 0o755), dir("p/q/", 0o755), file("p/q/r", "1")},
				{dir("p/", 0o755), file("p/q", "file now")},
				{dir("p/", 0o755), file("p/z", "")},
			},
			[]string{"d . 755 0:0", "d p 755 0:0", "f p/q 644 0:0 @1", "f p/z 644 0:0 @2"},
		},
		{
			"hard link whose first name is hidden keeps its content",
			[][]tarEntry{
				{file("a", "same"), link("b", "a"), link("c", "a")},
				{file(".wh.a", "")},
			},
			[]string{"d . 755 0:0", "f b 644 0:0 @0", "f c 644 0:0 = b @0"},
		},
		{
			"last entry of a name wins",
			[][]tarEntry{{file("x", "1"), dir("x/", 0o755), file("x/y", ""), symlink("x", "z")}},
			[]string{"d . 755 0:0", "l x 777 0:0 -> z @0"},
		},
		{
			"siblings that sort around a slash",
			[][]tarEntry{
				{dir("a/", 0o755), file("a-b", ""), file("a/b", ""), file("a.b", "")},
				{file("a-b", "2")},
			},
			[]string{"d . 755 0:0", "d a 755 0:0", "f a/b 644 0:0 @0", "f a-b 644 0:0 @1", "f a.b 644 0:0 @0"},
		},
		{
			"other whiteout-like names are ignored",
			[][]tarEntry{{file(".wh..wh.plnk", ""), file("a", "")}},
			[]string{"d . 755 0:0", "f a 644 0:0 @0"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var layers []Source
			var shadows []Source
			for _, entries := range tc.layers {
				data := makeTar(t, entries...)
				s, _ := unpack(t, data, UnpackOptions{})
				layers = append(layers, s)
				u, _ := unpack(t, data, UnpackOptions{Unprivileged: true})
				shadows = append(shadows, u)
			}
			if diff := cmp.Diff(tc.want, show(t, layers)); diff != "" {
				t.Errorf("merge (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.want, show(t, shadows)); diff != "" {
				t.Errorf("unprivileged merge (-want +got):\n%s", diff)
			}
			checkForms(t, layers, shadows)
		})
	}
}

// checkForms holds the forms of an image against each other: the overlay
// mount, the merged copy, the ACI unpacked again, the unprivileged ACI.
func checkForms(t *testing.T, layers, shadows []Source) {
	t.Helper()
	testenv.NeedsOverlay(t)
	ctx := t.Context()
	manifest := []byte(`{"acKind":"ImageManifest"}`)
	var root, unprivileged bytes.Buffer
	if err := WriteACI(ctx, &root, manifest, layers); err != nil {
		t.Fatal(err)
	}
	if err := WriteACI(ctx, &unprivileged, manifest, shadows); err != nil {
		t.Fatal(err)
	}
	if sha512.Sum512(root.Bytes()) != sha512.Sum512(unprivileged.Bytes()) {
		t.Error("the unprivileged unpack gives another image ID")
	}
	again, res := unpack(t, root.Bytes(), UnpackOptions{ACI: true})
	if string(res.Manifest) != string(manifest) {
		t.Errorf("manifest = %s", res.Manifest)
	}

	topDir := t.TempDir()
	if err := os.Chmod(topDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteTop(ctx, topDir, layers); err != nil {
		t.Fatal(err)
	}
	lowers := []string{topDir}
	for _, l := range slices.Backward(layers) {
		lowers = append(lowers, l.Root)
	}
	mnt := t.TempDir()
	if err := unix.Mount("overlay", mnt, "overlay", 0, "lowerdir="+strings.Join(lowers, ":")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mnt, unix.MNT_DETACH) })

	want := listTree(t, again.Root)
	if diff := cmp.Diff(want, listTree(t, mnt)); diff != "" {
		t.Errorf("ACI and overlay (-aci +overlay):\n%s", diff)
	}
	dst := t.TempDir()
	if err := CopyMerged(ctx, dst, []Source{again}, CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, listTree(t, dst)); diff != "" {
		t.Errorf("ACI and copy (-aci +copy):\n%s", diff)
	}
}

// listTree reads a tree with everything that has to be the same, contents
// included, and nothing that may differ (inodes, change times, link counts).
func listTree(t *testing.T, root string) []Entry {
	t.Helper()
	var out []Entry
	var visit func(path string)
	visit = func(path string) {
		full := filepath.Join(root, path)
		var st unix.Stat_t
		if err := unix.Lstat(full, &st); err != nil {
			t.Fatal(err)
		}
		e := entryFromStat(path, &st)
		switch e.Type {
		case Symlink:
			e.Target, _ = os.Readlink(full)
		case Directory, Regular:
			if err := readXattrs(unix.AT_FDCWD, full, &e); err == nil {
				break
			}
		}
		if e.Type == Regular {
			data, err := os.ReadFile(full)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha512.Sum512(data)
			e.Target = fmt.Sprintf("%x", sum[:6])
		}
		e.Ino, e.CSec, e.CNsec, e.Opaque = 0, 0, 0, false
		out = append(out, e)
		if e.Type != Directory {
			return
		}
		des, err := os.ReadDir(full)
		if err != nil {
			t.Fatal(err)
		}
		for _, de := range des {
			visit(join(path, de.Name()))
		}
	}
	visit(".")
	return out
}

func TestEverythingSurvives(t *testing.T) {
	testenv.NeedsRoot(t)
	long := strings.Repeat("d/", 120) + strings.Repeat("n", 200)
	caps := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	base := makeTar(t,
		dir("./", 0o755), dir("bin/", 0o755),
		file("bin/ping", "elf").mode(0o755).xattr("security.capability", caps),
		file("bin/su", "elf").mode(0o4755),
		file("bin/note", "x").xattr("user.note", "hello"),
		file("big", strings.Repeat("\x00", 1<<20)+"end"),
		dir("tmp/", 0o1777), dir("home/u/", 0o700).owned(70000, 70000),
		node(tar.TypeChar, "null", 1, 3), node(tar.TypeBlock, "loop", 7, 300), node(tar.TypeFifo, "fifo", 0, 0),
		symlink("abs", "/etc/passwd"), symlink("rel", "../x"), symlink("weird", "a b\nc"),
		link("bin/su2", "./bin/su"), link("abs2", "abs"),
		file(long, "deep"), file("sp ace\n\xff", "odd name"),
	)
	upper := makeTar(t, file("bin/extra", "1"), file("usr/local/bin/tool", "2"))
	var layers, shadows []Source
	for _, data := range [][]byte{base, upper} {
		s, _ := unpack(t, data, UnpackOptions{})
		layers = append(layers, s)
		u, _ := unpack(t, data, UnpackOptions{Unprivileged: true})
		shadows = append(shadows, u)
	}
	checkForms(t, layers, shadows)

	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(layers[0].Root, "big"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 1<<20+3 || st.Blocks*512 > 1<<18 {
		t.Errorf("sparse file: size %d in %d blocks", st.Size, st.Blocks)
	}
	if err := unix.Lstat(filepath.Join(layers[0].Root, "bin/su"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Mode&0o7777 != 0o4755 || st.Nlink != 2 {
		t.Errorf("setuid file: mode %o, %d links", st.Mode, st.Nlink)
	}
}

func TestHostileArchives(t *testing.T) {
	testenv.NeedsRoot(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("intact"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		entries []tarEntry
		err     string // "" means contained
	}{
		{"dotdot", []tarEntry{file("../victim", "x")}, `climbs out`},
		{"dotdot inside", []tarEntry{file("a/../../victim", "x")}, `climbs out`},
		{"absolute", []tarEntry{file(victim, "x")}, ""},
		{"symlink then write through it", []tarEntry{symlink("l", outside), file("l/victim", "x")}, "leads nowhere"},
		{"relative symlink then write through it", []tarEntry{symlink("l", "../../../../../../../../../.."+outside), file("l/victim", "x")}, "leads nowhere"},
		{"symlink as file then write", []tarEntry{symlink("l", victim), file("l", "x")}, ""},
		{"symlink then directory of the same name", []tarEntry{symlink("l", outside), dir("l/", 0o777)}, ""},
		{"symlink to proc", []tarEntry{symlink("p", "/proc/self/root"), file("p/x", "x")}, "leads nowhere"},
		{"hard link outside", []tarEntry{link("l", "../../outside/victim")}, `climbs out`},
		{"hard link absolute", []tarEntry{link("l", victim)}, "not in this layer"},
		{"hard link through symlink", []tarEntry{symlink("d", outside), link("l", "d/victim")}, "not in this layer"},
		{"hard link to symlink then write", []tarEntry{symlink("s", victim), link("h", "s"), file("h", "x")}, ""},
		{"hard link to directory", []tarEntry{dir("d/", 0o755), link("l", "d")}, "is a directory"},
		{"device then open", []tarEntry{node(tar.TypeChar, "null", 1, 3), file("null", "x")}, ""},
		{"whiteout device", []tarEntry{node(tar.TypeChar, "w", 0, 0)}, "reserved for whiteouts"},
		{"device number", []tarEntry{node(tar.TypeBlock, "w", 1<<13, 0)}, "impossible device number"},
		{"whiteout of dotdot", []tarEntry{file("d/.wh...", "")}, "whiteout without a name"},
		{"whiteout through symlink", []tarEntry{symlink("l", outside), file("l/.wh.victim", "")}, "leads nowhere"},
		{"opaque through symlink", []tarEntry{symlink("l", outside), file("l/.wh..wh..opq", "")}, "leads nowhere"},
		{"long component", []tarEntry{file(strings.Repeat("n", 300), "")}, "component"},
		{"long path", []tarEntry{file(strings.Repeat("n/", 3000)+"x", "")}, "bytes in a name"},
		{"overlay xattr", []tarEntry{file("x", "").xattr("trusted.overlay.redirect", "/etc")}, ""},
		{"unknown type", []tarEntry{{h: tar.Header{Typeflag: 'Z', Name: "z"}}}, "unsupported type"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _, err := tryUnpack(t, makeTar(t, tc.entries...), UnpackOptions{})
			switch {
			case tc.err == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("error = %v, want one with %q", err, tc.err)
			}
			if data, err := os.ReadFile(victim); err != nil || string(data) != "intact" {
				t.Fatalf("the file outside changed: %q, %v", data, err)
			}
			if names, _ := os.ReadDir(outside); len(names) != 1 {
				t.Fatalf("something was made outside: %v", names)
			}
			if v, err := xattrOf(filepath.Join(s.Root, "x"), "trusted.overlay.redirect"); err == nil {
				t.Errorf("overlay attribute was applied: %q", v)
			}
		})
	}
}

func xattrOf(path, name string) (string, error) {
	buf := make([]byte, 256)
	n, err := unix.Lgetxattr(path, name, buf)
	return string(buf[:max(n, 0)]), err
}

func TestHostileACIs(t *testing.T) {
	testenv.NeedsRoot(t)
	m := file("manifest", "{}")
	for _, tc := range []struct {
		name    string
		entries []tarEntry
		err     string
	}{
		{"no manifest", []tarEntry{dir("rootfs/", 0o755)}, "no image manifest found in layout"},
		{"no rootfs", []tarEntry{m}, "no rootfs found in layout"},
		{"rootfs is a file", []tarEntry{m, file("rootfs", "")}, "rootfs is not a directory"},
		{"two manifests", []tarEntry{m, dir("rootfs/", 0o755), m}, "duplicate file entry in archive: manifest"},
		{"two files", []tarEntry{m, file("rootfs/a", ""), file("rootfs//a", "")}, "duplicate file entry in archive: rootfs/a"},
		{"two directories", []tarEntry{m, dir("rootfs/a/", 0o755), dir("rootfs/a", 0o700)}, "duplicate file entry in archive: rootfs/a"},
		{"file then directory", []tarEntry{m, file("rootfs/a", ""), dir("rootfs/a", 0o700)}, "duplicate file entry in archive: rootfs/a"},
		{"outside", []tarEntry{m, dir("rootfs/", 0o755), file("evil", "")}, `unrecognized file path in layout: "evil"`},
		{"link to the manifest", []tarEntry{m, dir("rootfs/", 0o755), link("rootfs/l", "manifest")}, "outside of rootfs"},
		{"whiteout names are plain names", []tarEntry{m, dir("rootfs/", 0o755), file("rootfs/.wh.x", "")}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := tryUnpack(t, makeTar(t, tc.entries...), UnpackOptions{ACI: true})
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error = %v, want %q", err, tc.err)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	testenv.NeedsRoot(t)
	small := DefaultLimits()
	small.Entries, small.Bytes = 10, 1000
	var many []tarEntry
	for i := range 11 {
		many = append(many, file(fmt.Sprintf("f%d", i), ""))
	}
	for name, data := range map[string][]byte{
		"many entries": makeTar(t, many...),
		"many bytes":   makeTar(t, file("a", strings.Repeat("x", 600)), file("b", strings.Repeat("x", 600))),
	} {
		var le *LimitError
		if _, _, err := tryUnpack(t, data, UnpackOptions{Limits: small}); !errors.As(err, &le) {
			t.Errorf("%s: error = %v, want a LimitError", name, err)
		}
	}
	// A header that claims a terabyte is refused before a byte is read.
	h := makeTar(t, tarEntry{h: tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o644}})
	bomb := bytes.Clone(h[:512])
	copy(bomb[124:], []byte{0x80, 0, 0, 0, 0, 0, 0x01, 0, 0, 0, 0, 0}) // base-256: 2^40
	copy(bomb[148:], "        ")
	sum := 0
	for _, c := range bomb[:512] {
		sum += int(c)
	}
	copy(bomb[148:], fmt.Sprintf("%06o\x00 ", sum))
	var le *LimitError
	if _, _, err := tryUnpack(t, bomb, UnpackOptions{}); !errors.As(err, &le) {
		t.Errorf("terabyte: error = %v, want a LimitError", err)
	}
}

func TestFlatten(t *testing.T) {
	testenv.NeedsRoot(t)
	stack := [][]byte{
		makeTar(t, dir("usr/", 0o755), dir("usr/lib/", 0o751), file("usr/lib/a", "1"), file("usr/lib/gone", "1"), symlink("lib", "usr/lib"),
			dir("o/", 0o755), file("o/old", "1"), dir("w/", 0o755), file("w/old", "1"), file("plain", "p")),
		makeTar(t, file("lib/x", "2"), link("linked", "usr/lib/a"), file("lib/.wh.gone", ""), file("o/new", "2"), file("o/.wh..wh..opq", ""),
			dir("w/", 0o700), file("w/new", "2"), file(".wh.w", ""), file("plain", "q")),
	}
	if _, _, err := tryUnpack(t, stack[1], UnpackOptions{}); !errors.Is(err, ErrNeedsLower) {
		t.Errorf("Unpack alone: %v, want ErrNeedsLower", err)
	}
	base := t.TempDir()
	s := Source{Root: filepath.Join(base, "rootfs"), Index: filepath.Join(base, "index")}
	if err := os.Mkdir(s.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	var opens []func() (io.ReadCloser, error)
	for _, data := range stack {
		opens = append(opens, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	}
	res, err := Flatten(t.Context(), s.Root, opens, UnpackOptions{Limits: DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.WriteIndex(t.Context(), s.Index); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"d . 755 0:0", "l lib 777 0:0 -> usr/lib @0", "f linked 644 0:0 @0", "d o 755 0:0", "f o/new 644 0:0 @0", "f plain 644 0:0 @0",
		"d usr 755 0:0", "d usr/lib 751 0:0", "f usr/lib/a 644 0:0 = linked @0", "f usr/lib/x 644 0:0 @0", "d w 700 0:0", "f w/new 644 0:0 @0",
	}
	if diff := cmp.Diff(want, show(t, []Source{s})); diff != "" {
		t.Errorf("flattened (-want +got):\n%s", diff)
	}
	if data, _ := os.ReadFile(s.Root + "/plain"); string(data) != "q" {
		t.Errorf("plain = %q", data)
	}
	o := UnpackOptions{Limits: DefaultLimits()}
	if err := VerifyFlat(t.Context(), s, opens, o); err != nil {
		t.Errorf("VerifyFlat: %v", err)
	}
	if err := os.WriteFile(s.Root+"/plain", []byte("r"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(s.Root+"/plain", when, when); err != nil {
		t.Fatal(err)
	}
	if err := VerifyFlat(t.Context(), s, opens, o); !isChanged(err) {
		t.Errorf("VerifyFlat = %v, want a ChangedError", err)
	}
}

func TestImplicitOverSymlinkIsRefused(t *testing.T) {
	testenv.NeedsRoot(t)
	lower, _ := unpack(t, makeTar(t, dir("usr/lib/", 0o755), symlink("lib", "usr/lib")), UnpackOptions{})
	upper, _ := unpack(t, makeTar(t, file("lib/x", "1")), UnpackOptions{})
	err := Merge(t.Context(), []Source{lower, upper}, func(*Merged) error { return nil })
	var ie *ImplicitError
	if !errors.As(err, &ie) || ie.Path != "lib" {
		t.Errorf("error = %v, want an ImplicitError for lib", err)
	}
}

func TestCheckStatAndVerify(t *testing.T) {
	testenv.NeedsRoot(t)
	data := makeTar(t, dir("d/", 0o755), file("d/a", "content"), file("d/b", "more"), link("d/c", "d/b"), symlink("l", "d"))
	o := UnpackOptions{Limits: DefaultLimits()}
	for name, change := range map[string]func(root string) error{
		"content":  func(r string) error { return os.WriteFile(r+"/d/a", []byte("CONTENT"), 0o644) },
		"mode":     func(r string) error { return os.Chmod(r+"/d/a", 0o755) },
		"owner":    func(r string) error { return os.Chown(r+"/d/a", 1, 0) },
		"removed":  func(r string) error { return os.Remove(r + "/d/a") },
		"added":    func(r string) error { return os.WriteFile(r+"/zz", nil, 0o644) },
		"symlink":  func(r string) error { _ = os.Remove(r + "/l"); return os.Symlink("e", r+"/l") },
		"xattr":    func(r string) error { return unix.Setxattr(r+"/d/a", "user.x", []byte("1"), 0) },
		"replaced": func(r string) error { return errors.Join(os.RemoveAll(r+"/d"), os.WriteFile(r+"/d", nil, 0o644)) },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := unpack(t, data, UnpackOptions{})
			if err := CheckStat(t.Context(), s); err != nil {
				t.Fatalf("untouched: %v", err)
			}
			if err := VerifyTar(t.Context(), s, bytes.NewReader(data), o); err != nil {
				t.Fatalf("untouched: %v", err)
			}
			if err := change(s.Root); err != nil {
				t.Fatal(err)
			}
			if err := CheckStat(t.Context(), s); !isChanged(err) {
				t.Errorf("CheckStat = %v, want a ChangedError", err)
			}
			if err := VerifyTar(t.Context(), s, bytes.NewReader(data), o); !isChanged(err) {
				t.Errorf("VerifyTar = %v, want a ChangedError", err)
			}
		})
	}
	t.Run("content with everything else forged", func(t *testing.T) {
		s, _ := unpack(t, data, UnpackOptions{})
		p := s.Root + "/d/a"
		if err := os.WriteFile(p, []byte("CONTENT"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, when, when); err != nil {
			t.Fatal(err)
		}
		if err := CheckStat(t.Context(), s); !isChanged(err) {
			t.Errorf("CheckStat = %v: the change time gives it away", err)
		}
		if err := Reindex(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := CheckStat(t.Context(), s); err != nil {
			t.Errorf("CheckStat after Reindex: %v", err)
		}
		if err := VerifyTar(t.Context(), s, bytes.NewReader(data), o); !isChanged(err) {
			t.Errorf("VerifyTar = %v, want a ChangedError", err)
		}
	})
}

func TestCopyShift(t *testing.T) {
	testenv.NeedsRoot(t)
	s, _ := unpack(t, makeTar(t, file("a", "x").owned(5, 6), file("b", "y").owned(70000, 0)), UnpackOptions{})
	dst := t.TempDir()
	err := CopyMerged(t.Context(), dst, []Source{s}, CopyOptions{Shift: 1 << 16, Count: 1 << 16})
	if err == nil || !strings.Contains(err.Error(), "uid 70000 or gid 0 are out of range 65536") {
		t.Errorf("error = %v", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dst, "a"), &st); err != nil || st.Uid != 1<<16+5 || st.Gid != 1<<16+6 {
		t.Errorf("owner %d:%d, %v", st.Uid, st.Gid, err)
	}
}

func TestUnpackStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Unpack(ctx, bytes.NewReader(makeTar(t, file("a", ""))), t.TempDir(), UnpackOptions{Unprivileged: true})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

func FuzzIndex(f *testing.F) {
	var buf bytes.Buffer
	iw, err := newIndexWriter(&buf)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range []Entry{
		{Path: ".", Type: Directory, Mode: 0o755, Implicit: true},
		{Path: "a", Type: Regular, Mode: 0o4755, UID: 1 << 31, Size: 1 << 40, Sec: -5, Nsec: 7, HasLinks: true, Xattrs: []Xattr{{"user.x", "\x00"}}},
		{Path: "b", Type: Symlink, Target: "a\nb"},
	} {
		if err := iw.add(&e); err != nil {
			f.Fatal(err)
		}
	}
	if err := iw.close(); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := newIndexReader(bytes.NewReader(data), "fuzz")
		if err != nil {
			return
		}
		var again bytes.Buffer
		iw, _ := newIndexWriter(&again)
		var all []*Entry
		if err := eachEntry(r, func(e *Entry) error { all = append(all, e); return iw.add(e) }); err != nil {
			return
		}
		_ = iw.close()
		r2, err := newIndexReader(&again, "again")
		if err != nil {
			t.Fatal(err)
		}
		var got []*Entry
		if err := eachEntry(r2, func(e *Entry) error { got = append(got, e); return nil }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Fatalf("an index that was read is written differently:\n%s", diff)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add(makeTar(f, dir("a/", 0o755), file("a/b", "x"), link("c", "a/b"), file("a/.wh.b", ""), symlink("s", "/etc")))
	f.Add(makeTar(f, file("../x", "y")))
	limits := DefaultLimits()
	limits.Entries, limits.Bytes = 100, 1<<20
	f.Fuzz(func(t *testing.T, data []byte) {
		base := t.TempDir()
		root := filepath.Join(base, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		res, err := Unpack(t.Context(), bytes.NewReader(data), root, UnpackOptions{Unprivileged: true, Limits: limits})
		if names, _ := os.ReadDir(base); len(names) != 1 {
			t.Fatalf("something was made beside the root: %v", names)
		}
		if err != nil {
			return
		}
		s := Source{Root: root, Index: filepath.Join(base, "index")}
		if err := res.WriteIndex(t.Context(), s.Index); err != nil {
			t.Fatal(err)
		}
		var aci bytes.Buffer
		if err := WriteACI(t.Context(), &aci, []byte("{}"), []Source{s}); err != nil {
			if errors.Is(err, ErrDevNotDirectory) {
				return
			}
			t.Fatal(err)
		}
	})
}

// FuzzStack: layers on top of each other. Whiteouts and replacements of one never
// lead out of the trees, and the archive of the whole is the same each time.
func FuzzStack(f *testing.F) {
	f.Add(makeTar(f, dir("a/", 0o755), file("a/b", "x")), makeTar(f, file("a/.wh.b", ""), file("a/.wh..wh..opq", "")), makeTar(f, symlink("a", "/etc"), file("a/b", "y")))
	f.Add(makeTar(f, file("a", "x")), makeTar(f, dir("a/", 0o700), file("a/b", "")), makeTar(f, file(".wh.a", "")))
	f.Add(makeTar(f, symlink("l", "..")), makeTar(f, file("l/x", "y")), makeTar(f, link("h", "l/x")))
	limits := DefaultLimits()
	limits.Entries, limits.Bytes = 100, 1<<20
	f.Fuzz(func(t *testing.T, one, two, three []byte) {
		base := t.TempDir()
		var layers []Source
		made := 0
		for i, data := range [][]byte{one, two, three} {
			s := Source{Root: filepath.Join(base, "root"+string(rune('0'+i))), Index: filepath.Join(base, "index"+string(rune('0'+i)))}
			if err := os.Mkdir(s.Root, 0o755); err != nil {
				t.Fatal(err)
			}
			made++
			res, err := Unpack(t.Context(), bytes.NewReader(data), s.Root, UnpackOptions{Unprivileged: true, Limits: limits})
			if err != nil {
				continue
			}
			if err := res.WriteIndex(t.Context(), s.Index); err != nil {
				t.Fatal(err)
			}
			made++
			layers = append(layers, s)
		}
		if names, _ := os.ReadDir(base); len(names) != made {
			t.Fatalf("something was made beside the trees: %v", names)
		}
		if len(layers) == 0 {
			return
		}
		var first, again bytes.Buffer
		err := WriteACI(t.Context(), &first, []byte("{}"), layers)
		if again := WriteACI(t.Context(), &again, []byte("{}"), layers); (err == nil) != (again == nil) {
			t.Fatalf("first %v, then %v", err, again)
		}
		if err == nil && !bytes.Equal(first.Bytes(), again.Bytes()) {
			t.Fatal("the archive is another one the second time")
		}
	})
}
