// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/tests/harness"
)

// images are two OCI layouts of eight layers of real files; the first seven
// are the same.
type images struct {
	one, two                   string
	compressed, lastCompressed int64
	unpacked                   int64
}

const (
	layers    = 8
	layerSize = 54 << 20
)

// bigImages makes the images once; they stay in the cache.
func bigImages(b *bench) images {
	dir := harness.Cached(b, "bench", func(dir string) {
		b.Logf("bench: making the big images (once; kept in %s)", harness.CacheDir(b))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatalf("%v", err)
		}
		work, err := os.MkdirTemp(harness.CacheDir(b), ".bench-")
		if err != nil {
			b.Fatalf("%v", err)
		}
		defer b.remove(work)
		goroot := strings.TrimSpace(harness.Command(b, "go", "env", "GOROOT"))
		files := &source{b: b, dirs: []string{filepath.Join(goroot, "src"), filepath.Join(goroot, "pkg"), filepath.Join(goroot, "bin"), "/usr/lib", "/usr/share", "/usr/bin"}}
		one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
		b.timed(exec.Command("cp", "-a", harness.DebianLayout(b), one)) // layer 1
		bundle := filepath.Join(work, "bundle")
		b.timed(exec.Command("umoci", "unpack", "--image", one+":"+harness.Tag, bundle))
		for i := 2; i <= layers; i++ {
			if i == layers {
				b.timed(exec.Command("cp", "-a", one, two))
				b.timed(exec.Command("cp", "-a", bundle, bundle+"2"))
				b.layer(files, two, bundle+"2", "other")
			}
			b.layer(files, one, bundle, fmt.Sprint("layer", i))
		}
		size := strconv.FormatInt(b.diskUsage(filepath.Join(bundle, "rootfs")), 10)
		if err := os.WriteFile(filepath.Join(dir, "unpacked"), []byte(size), 0o644); err != nil {
			b.Fatalf("%v", err)
		}
	})
	i := images{one: filepath.Join(dir, "one"), two: filepath.Join(dir, "two")}
	i.compressed, _ = b.layerSizes(i.one)
	_, i.lastCompressed = b.layerSizes(i.two)
	size, err := os.ReadFile(filepath.Join(dir, "unpacked"))
	if err != nil {
		b.Fatalf("%v", err)
	}
	if i.unpacked, err = strconv.ParseInt(string(size), 10, 64); err != nil {
		b.Fatalf("%v", err)
	}
	return i
}

// layer adds files to the bundle's root and packs them as one more layer.
func (b *bench) layer(files *source, layout, bundle, name string) {
	files.copyInto(filepath.Join(bundle, "rootfs", "opt", name), layerSize)
	b.timed(exec.Command("umoci", "repack", "--refresh-bundle", "--image", layout+":"+harness.Tag, bundle))
}

// layerSizes are the sizes of all compressed layers and of the last.
func (b *bench) layerSizes(layout string) (all, last int64) {
	out := harness.Command(b, "skopeo", "inspect", "--raw", "oci:"+layout+":"+harness.Tag)
	var m struct{ Layers []struct{ Size int64 } }
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		b.Fatalf("%v", err)
	}
	if len(m.Layers) != layers {
		b.Fatalf("%s has %d layers", layout, len(m.Layers))
	}
	for _, l := range m.Layers {
		all += l.Size
		last = l.Size
	}
	return all, last
}

// source hands out the machine's own files, each once.
type source struct {
	b     *bench
	dirs  []string
	files []string
	next  int
}

func (s *source) copyInto(dir string, size int64) {
	if s.files == nil {
		s.list()
	}
	for ; size > 0; s.next++ {
		if s.next == len(s.files) {
			s.b.Fatalf("this machine has too few files below %s for the big image", strings.Join(s.dirs, ", "))
		}
		n, err := copyFile(filepath.Join(dir, s.files[s.next]), s.files[s.next])
		if err != nil {
			s.b.Fatalf("%v", err)
		}
		size -= n
	}
}

func (s *source) list() {
	for _, dir := range s.dirs {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.Type().IsRegular() {
				s.files = append(s.files, p)
			}
			return nil
		})
		if err != nil {
			s.b.Fatalf("%v", err)
		}
	}
}

func copyFile(to, from string) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, in)
	if err != nil {
		_ = out.Close()
		return n, err
	}
	return n, out.Close()
}
