// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// OCIOptions say how an image is packed.
type OCIOptions struct {
	Zstd   bool
	Config v1.Config
}

// OCIImage makes an image of layers, base first.
func OCIImage(t T, o OCIOptions, layers ...[]Entry) v1.Image {
	t.Helper()
	blobs := make([][]byte, 0, len(layers))
	for _, entries := range layers {
		var b bytes.Buffer
		Tar(t, &b, entries)
		blobs = append(blobs, b.Bytes())
	}
	return OCIImageOf(t, o, blobs...)
}

// OCIImageOf makes an image of uncompressed layer archives, base first.
func OCIImageOf(t T, o OCIOptions, blobs ...[]byte) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	kind, algorithm := types.OCILayer, compression.GZip
	if o.Zstd {
		kind, algorithm = types.OCILayerZStd, compression.ZStd
	}
	for _, blob := range blobs {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil },
			tarball.WithCompression(algorithm), tarball.WithMediaType(kind))
		if err != nil {
			t.Fatalf("layer: %v", err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatalf("append layer: %v", err)
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatalf("%v", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", map[string]string{"amd64": "amd64", "aarch64": "arm64"}[HostArch()]
	file.Config = o.Config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		t.Fatalf("%v", err)
	}
	return img
}

// WriteLayout stores an image under the tag Tag in a new OCI layout.
func WriteLayout(t T, img v1.Image) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := l.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": Tag})); err != nil {
		t.Fatalf("%v", err)
	}
	return dir
}

// Capability is a security.capability attribute: cap_net_bind_service=ep
// (struct vfs_cap_data version 2, linux/capability.h).
const Capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// Noise is n bytes that do not compress, always the same for a seed.
func Noise(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// OddLayers are three layers with everything an image may contain: whiteouts,
// opaque directories, hard links across and inside layers, type changes,
// capabilities, user attributes, devices, fifos, set-id bits, long names, ids
// above 65535, sparse content and odd times. Base first.
func OddLayers() [][]Entry {
	long := strings.Repeat("long-name-", 20) // 200 bytes: needs a pax or GNU header
	deep := strings.TrimSuffix(strings.Repeat("deep/", 40), "/")
	owned := func(e Entry, uid, gid int) Entry {
		e.Uid, e.Gid = uid, gid
		return e
	}
	attr := func(e Entry, key, value string) Entry {
		e.PAXRecords = map[string]string{"SCHILY.xattr." + key: value}
		return e
	}
	device := func(kind byte, name string, major, minor int64) Entry {
		return Entry{Header: tar.Header{Typeflag: kind, Name: name, Mode: 0o660, Devmajor: major, Devminor: minor}}
	}
	base := []Entry{
		Dir("./", 0o755), Dir("etc", 0o755), File("etc/passwd", 0o644, "root:x:0:0::/root:/bin/sh\n"), File("etc/gone", 0o600, "whiteout takes this"),
		Dir("bin", 0o755), File("bin/tool", 0o4755, Noise(1, 70_000)), Hardlink("bin/tool-too", "bin/tool"),
		attr(File("bin/ping", 0o755, "ping"), "security.capability", Capability),
		attr(File("bin/noted", 0o755, "noted"), "user.note", "hello \x01 world"),
		Dir("dev", 0o755), device(tar.TypeChar, "dev/null", 1, 3), device(tar.TypeBlock, "dev/disk", 7, 300),
		{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "dev/pipe", Mode: 0o640}},
		Dir("data", 0o2770), owned(File("data/a", 0o640, "a"), 100_000, 200_000), owned(File("data/b", 0o604, "b"), 4_000_000_000, 65_536), Dir("data/sub", 0o711), File("data/sub/x", 0o644, "x"),
		Dir("opaque", 0o755), File("opaque/old", 0o644, "old"), Dir("opaque/olddir", 0o755), File("opaque/olddir/f", 0o644, "f"),
		Dir("swap", 0o755), File("swap/file", 0o644, "becomes a directory"), Dir("swap/dir", 0o755), File("swap/dir/inside", 0o644, "goes"), Symlink("swap/link", "dir"),
		Dir("links", 0o755), File("links/one", 0o644, "shared content"), Hardlink("links/two", "links/one"), Hardlink("links/three", "links/one"),
		Symlink("abs", "/etc/passwd"), Symlink("dangling", "nowhere/at/all"), Symlink("dev/stdout", "/dev/console"),
		Dir("long", 0o755), File("long/"+long, 0o644, "long"), Symlink("long/link", strings.Repeat("target/", 30)+"end"),
		Dir("tmp", 0o1777), File("empty", 0o444, ""), Dir("über", 0o755), File("über/ünï çødé", 0o644, "utf-8"),
		File("sparse", 0o644, "head"+strings.Repeat("\x00", 3<<20)+"tail"), owned(Dir("home", 0o700), 1000, 1000),
	}
	for i := range 40 {
		base = append(base, Dir(strings.TrimSuffix(strings.Repeat("deep/", i+1), "/"), 0o755))
	}
	base = append(base, File(deep+"/bottom", 0o644, "bottom"))
	middle := []Entry{
		File("etc/.wh.gone", 0, ""), File("etc/new", 0o644, "new"),
		Dir("opaque", 0o750), File("opaque/.wh..wh..opq", 0, ""), File("opaque/new", 0o644, "new"),
		File("swap/.wh.file", 0, ""), Dir("swap/file", 0o700), File("swap/file/now", 0o644, "now"), File("swap/dir", 0o644, "was a directory"),
		Hardlink("links/four", "links/one"), File("links/own", 0o644, "own"), Hardlink("links/own2", "links/own"),
		owned(Dir("data", 0o2775), 0, 50), File("data/sub/y", 0o644, "y"),
	}
	top := []Entry{
		File("links/one", 0o600, "links/one is its own file now"), File("etc/gone", 0o644, "back again"),
		File("data/.wh.sub", 0, ""), attr(File("bin/ping", 0o755, "ping two"), "security.capability", Capability),
		File("swap/.wh.link", 0, ""), File("opaque/.wh.new", 0, ""),
	}
	for _, layer := range [][]Entry{base, middle, top} {
		for i := range layer { // distinct odd times, so that a mix-up shows
			layer[i].ModTime = Epoch.Add(-time.Duration(i) * 1001 * time.Millisecond)
		}
	}
	return [][]Entry{base, middle, top}
}

// Layer makes a layer of n files of size bytes each below a directory.
func Layer(name string, n, size int) []Entry {
	es := []Entry{Dir(name, 0o755)}
	for i := range n {
		es = append(es, File(fmt.Sprintf("%s/file-%04d", name, i), 0o644, Noise(uint64(i)+uint64(len(name))<<32+uint64(name[len(name)-1])<<40, size)))
	}
	return es
}
