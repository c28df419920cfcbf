// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/compression"
)

const testManifest = `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/a"}`

// entry is a header with its data.
type entry struct {
	tar.Header
	data string
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

func dir(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}

func link(typeflag byte, name, target string) entry {
	return entry{tar.Header{Typeflag: typeflag, Name: name, Linkname: target, Mode: 0o777}, ""}
}

func manifest() entry { return file("manifest", testManifest) }

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		if err := tw.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compress(t testing.TB, kind compression.Type, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := compression.NewWriter(&b, kind)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// v7 makes old headers of new ones: no magic, regular files are type 0.
func v7(t testing.TB, data []byte) []byte {
	t.Helper()
	data = bytes.Clone(data)
	for offset := 0; offset+blockSize <= len(data); {
		block := data[offset : offset+blockSize]
		if isZero(block) {
			break
		}
		size, err := rawSize(block)
		if err != nil {
			t.Fatal(err)
		}
		clear(block[magicOffset:])
		if block[typeflagOffset] == '0' {
			block[typeflagOffset] = 0
		}
		setChecksum(block)
		offset += blockSize + int(size) + len(padding(size))
	}
	return data
}

func TestValidate(t *testing.T) {
	good := archive(t, manifest(), dir("rootfs"), dir("rootfs/bin"), file("rootfs/bin/a", "x"),
		link(tar.TypeLink, "rootfs/b", "rootfs/bin/a"), link(tar.TypeSymlink, "rootfs/c", "/nowhere"))
	for name, data := range map[string][]byte{
		"plain":           good,
		"gzip":            compress(t, compression.Gzip, good),
		"zstd":            compress(t, compression.Zstd, good),
		"v7":              v7(t, good),
		"manifest last":   archive(t, dir("rootfs"), manifest()),
		"dot":             archive(t, dir("./"), file("./manifest", testManifest), dir("./rootfs/"), file("./rootfs//a", "")),
		"implied parents": archive(t, manifest(), dir("rootfs"), file("rootfs/a/b", ""), dir("rootfs/a")),
		"global header": archive(t, entry{tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"comment": "x"}}, ""},
			manifest(), dir("rootfs")),
	} {
		m, err := Validate(bytes.NewReader(data))
		if err != nil || m.Name != "example.com/a" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateFaults(t *testing.T) {
	long := strings.Repeat("a/", 2100)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":              {archive(t), "no image manifest found in layout"},
		"no manifest":        {archive(t, dir("rootfs")), "no image manifest found in layout"},
		"no rootfs":          {archive(t, manifest()), "no rootfs found in layout"},
		"rootfs is a file":   {archive(t, manifest(), file("rootfs", "")), "rootfs is not a directory"},
		"rootfs is a link":   {archive(t, manifest(), link(tar.TypeSymlink, "rootfs", "/"), file("rootfs/etc/passwd", "")), "is not a directory"},
		"link, then rootfs":  {archive(t, manifest(), file("rootfs/a", ""), link(tar.TypeSymlink, "rootfs", "/")), "rootfs is not a directory"},
		"manifest is a link": {archive(t, link(tar.TypeSymlink, "manifest", "/etc/passwd"), dir("rootfs")), "manifest is not a regular file"},
		"bad manifest":       {archive(t, file("manifest", `{"acKind":"ImageManifest"}`), dir("rootfs")), "image manifest validation failed: acVersion (line 1, column 1): acVersion must be set"},
		"big manifest":       {archive(t, file("manifest", strings.Repeat(" ", 4<<20+1)), dir("rootfs")), "manifest has 4194305 bytes"},
		"outside":            {archive(t, manifest(), dir("rootfs"), file("other", "")), `unrecognized file path in layout: "other"`},
		"prefix":             {archive(t, manifest(), dir("rootfs"), file("rootfsx/a", "")), `unrecognized file path in layout: "rootfsx/a"`},
		"absolute":           {archive(t, manifest(), dir("rootfs"), file("/rootfs/a", "")), `unrecognized file path in layout: "/rootfs/a"`},
		"dotdot":             {archive(t, manifest(), dir("rootfs"), file("rootfs/../../etc/passwd", "")), `unrecognized file path in layout: "rootfs/../../etc/passwd"`},
		"dotdot inside":      {archive(t, manifest(), dir("rootfs"), file("rootfs/a/../b", "")), "unrecognized file path in layout"},
		"duplicate manifest": {archive(t, manifest(), dir("rootfs"), file("./manifest", testManifest)), "duplicate file entry in archive: manifest"},
		"duplicate file":     {archive(t, manifest(), dir("rootfs"), file("rootfs/a", ""), file("rootfs/./a", "")), "duplicate file entry in archive: rootfs/a"},
		"duplicate dir":      {archive(t, manifest(), dir("rootfs"), dir("rootfs/a/"), dir("rootfs/a")), "duplicate file entry in archive: rootfs/a"},
		"through a link": {
			archive(t, manifest(), dir("rootfs"), link(tar.TypeSymlink, "rootfs/l", "/etc"), file("rootfs/l/x/passwd", "")),
			`file entry "rootfs/l/x/passwd" in archive is below "rootfs/l", which is not a directory`,
		},
		"link over a directory": {
			archive(t, manifest(), dir("rootfs"), file("rootfs/l/x/passwd", ""), link(tar.TypeSymlink, "rootfs/l", "/etc")),
			`file entry "rootfs/l" in archive is not a directory but has entries below it`,
		},
		"hard link outside":  {archive(t, manifest(), dir("rootfs"), link(tar.TypeLink, "rootfs/a", "/etc/shadow")), "leads out of rootfs"},
		"hard link manifest": {archive(t, manifest(), dir("rootfs"), link(tar.TypeLink, "rootfs/a", "manifest")), "leads out of rootfs"},
		"long name":          {archive(t, manifest(), dir("rootfs"), file("rootfs/"+long+"x", "")), "too long"},
		"truncated":          {archive(t, manifest(), dir("rootfs"), file("rootfs/a", strings.Repeat("x", 5000)))[:4000], "unexpected EOF"},
		"text":               {[]byte(strings.Repeat("text ", 500)), "error: unknown image filetype"},
		"nothing":            {nil, "error: unknown image filetype"},
		"gzip of text":       {compress(t, compression.Gzip, []byte(strings.Repeat("text ", 500))), "error: unknown image filetype"},
		"gzip of gzip":       {compress(t, compression.Gzip, compress(t, compression.Gzip, archive(t, manifest(), dir("rootfs")))), "error: unknown image filetype"},
	} {
		if _, err := Validate(bytes.NewReader(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// The compression's own checksum counts, although it stands behind the archive.
func TestValidateReadsToTheEnd(t *testing.T) {
	data := compress(t, compression.Gzip, archive(t, manifest(), dir("rootfs")))
	data[len(data)-5] ^= 1
	if _, err := Validate(bytes.NewReader(data)); err == nil {
		t.Error("a wrong checksum was not noticed")
	}
}

func TestOldVersion(t *testing.T) {
	m, err := Validate(bytes.NewReader(archive(t, manifest(), dir("rootfs"))))
	if err != nil {
		t.Fatal(err)
	}
	var old *OldVersionError
	if err := checkVersion(m, 1); !errors.As(err, &old) || err.Error() != "ACVersion too old. Found major version 0, expected 1" {
		t.Errorf("%v", err)
	}
	if err := checkVersion(m, 0); err != nil {
		t.Error(err)
	}
}

// countingReader tells how far it was read.
type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestManifestFrom(t *testing.T) {
	data := archive(t, manifest(), dir("rootfs"), file("rootfs/a", strings.Repeat("x", 10<<20)))
	r := &countingReader{r: bytes.NewReader(data)}
	m, raw, err := ManifestFrom(r)
	if err != nil || m.Name != "example.com/a" || string(raw) != testManifest {
		t.Errorf("%v, %s, %v", m, raw, err)
	}
	if r.n > 1<<20 {
		t.Errorf("read %d bytes to find the first entry", r.n)
	}
	if _, _, err := ManifestFrom(bytes.NewReader(archive(t, dir("rootfs")))); !errors.Is(err, ErrMissingManifest) {
		t.Errorf("%v", err)
	}
	if _, raw, err := ManifestFrom(bytes.NewReader(archive(t, file("manifest", "{}")))); err == nil || string(raw) != "{}" {
		t.Errorf("invalid manifest: %q, %v", raw, err)
	}
}

// What validates has a manifest, can be listed without a hostile name, and is
// copied verbatim by an edit that changes nothing.
func FuzzArchive(f *testing.F) {
	good := archive(f, manifest(), dir("rootfs"), file("rootfs/a", "x"), link(tar.TypeLink, "rootfs/b", "rootfs/a"))
	f.Add(good)
	f.Add(v7(f, good))
	f.Add(archive(f, dir("rootfs"), file("rootfs/"+strings.Repeat("long", 50), ""), manifest()))
	f.Add(archive(f, entry{tar.Header{Typeflag: tar.TypeReg, Name: "rootfs/x", Format: tar.FormatGNU, Uid: 1 << 30}, ""}, manifest()))
	f.Fuzz(func(t *testing.T, data []byte) {
		if compression.Detect(data) != compression.None {
			return
		}
		m, err := List(bytes.NewReader(data), func(name string, _ *tar.Header) error {
			if strings.HasPrefix(name, "/") || hasDotDot(name) || name != RootFSName && !strings.HasPrefix(name, RootFSName+"/") {
				t.Errorf("hostile name %q", name)
			}
			return nil
		})
		if err != nil {
			return
		}
		_, raw, err := ManifestFrom(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = Patch(&out, bytes.NewReader(data), func(old []byte) ([]byte, error) {
			if !bytes.Equal(old, raw) {
				t.Fatalf("patched %q, not the manifest %q of %s", old, raw, m.Name)
			}
			return old, nil
		})
		if err == nil && !bytes.Equal(out.Bytes(), data) {
			t.Fatal("the copy differs")
		}
	})
}
