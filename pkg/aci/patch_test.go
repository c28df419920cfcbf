// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func patched(t *testing.T, data []byte, manifest string) []byte {
	t.Helper()
	var out bytes.Buffer
	err := Patch(&out, bytes.NewReader(data), func([]byte) ([]byte, error) { return []byte(manifest), nil })
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPatchKeepsAllElse(t *testing.T) {
	old := manifest()
	old.Uid, old.Uname, old.Mode, old.ModTime = 7, "seven", 0o600, time.Unix(12345, 0)
	head := []entry{
		dir("./"), dir("rootfs"),
		file("rootfs/"+strings.Repeat("long/", 50)+"name", strings.Repeat("data", 1000)),
		{tar.Header{Typeflag: tar.TypeReg, Name: "rootfs/" + strings.Repeat("gnu", 60), Format: tar.FormatGNU}, ""},
		{tar.Header{Typeflag: tar.TypeReg, Name: "rootfs/pax", Size: 1, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "\xff\n"}}, "x"},
		{tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"path": "manifest"}}, ""},
		link(tar.TypeSymlink, "rootfs/l", "manifest"),
	}
	tail := []entry{file("rootfs/z", "end")}
	for _, length := range []int{0, len(testManifest) - 1, len(testManifest), len(testManifest) + 1, 512, 100_000} {
		text := strings.Repeat(" ", length)
		replaced := old
		replaced.data, replaced.Size = text, int64(length)
		want := archive(t, append(append(head[:len(head):len(head)], replaced), tail...)...)
		got := patched(t, archive(t, append(append(head[:len(head):len(head)], old), tail...)...), text)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes of manifest: the rest changed", length)
		}
	}
}

func TestPatchKeepsTheEnd(t *testing.T) {
	data := append(archive(t, manifest(), dir("rootfs")), make([]byte, 10240)...)
	data = append(data, "what follows the end mark"...)
	if got := patched(t, data, testManifest); !bytes.Equal(got, data) {
		t.Error("the end changed")
	}
	short := archive(t, manifest(), dir("rootfs"))
	short = short[:len(short)-1024]
	if got := patched(t, short, testManifest); !bytes.Equal(got, short) {
		t.Error("an end mark was made up")
	}
}

func TestPatchOldFormats(t *testing.T) {
	data := v7(t, archive(t, dir("rootfs/"), manifest(), file("rootfs/a", "x")))
	got := patched(t, data, strings.Replace(testManifest, "example.com/a", "b", 1))
	if m, err := Validate(bytes.NewReader(got)); err != nil || m.Name != "b" {
		t.Errorf("v7: %v", err)
	}
	sparse := sparseGNU(t)
	if got := patched(t, sparse, testManifest); !bytes.Equal(got, sparse) {
		t.Error("GNU sparse: changed")
	}
}

// sparseGNU is an archive with an entry in the old sparse format of GNU tar
// whose map goes on in a block of its own.
func sparseGNU(t *testing.T) []byte {
	t.Helper()
	data := archive(t, manifest(), dir("rootfs"), entry{tar.Header{Typeflag: tar.TypeReg, Name: "rootfs/s", Size: 5, Format: tar.FormatGNU, Uid: 1 << 22}, "abcde"})
	block := data[3*blockSize : 4*blockSize]
	block[typeflagOffset] = tar.TypeGNUSparse
	for i, off := range []int{0, 2, 4, 6} {
		copy(block[386+24*i:], octal(off))
		copy(block[386+24*i+12:], octal(1))
	}
	block[482] = 1
	copy(block[483:], octal(9))
	setChecksum(block)
	extension := make([]byte, blockSize)
	copy(extension, octal(8))
	copy(extension[12:], octal(1))
	out := append(bytes.Clone(data[:4*blockSize]), extension...)
	out = append(out, data[4*blockSize:]...)
	tr := tar.NewReader(bytes.NewReader(out))
	for range 3 {
		if _, err := tr.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if content, err := io.ReadAll(tr); err != nil || string(content) != "a\x00b\x00c\x00d\x00e" {
		t.Fatalf("the test's own archive is wrong: %q, %v", content, err)
	}
	return out
}

func octal(n int) string { return "0000000000" + string(rune('0'+n/8)) + string(rune('0'+n%8)) }

func TestPatchFaults(t *testing.T) {
	fail := errors.New("edit failed")
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"no manifest":   {archive(t, dir("rootfs")), "no image manifest found in layout"},
		"two manifests": {archive(t, manifest(), file("./manifest", "")), "duplicate file entry in archive: manifest"},
		"a directory":   {archive(t, dir("manifest")), "not a regular file"},
		"truncated":     {archive(t, dir("rootfs"), file("rootfs/a", strings.Repeat("x", 5000)))[:2000], "unexpected EOF"},
		"cut header":    {archive(t, manifest())[:100], "unexpected EOF"},
		"checksum":      {bytes.Replace(archive(t, file("rootfs/aaaaaaa", ""), manifest()), []byte("aaaaaaa"), []byte("aaaaaab"), 1), "bad checksum"},
	} {
		err := Patch(io.Discard, bytes.NewReader(c.data), func(b []byte) ([]byte, error) { return b, nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Patch(io.Discard, bytes.NewReader(archive(t, manifest())), func([]byte) ([]byte, error) { return nil, fail }); !errors.Is(err, fail) {
		t.Errorf("%v", err)
	}
}
