// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// hostile are archives that must be refused or contained, each by name. Names
// are relative to the root file system of the image.
func hostile(outside string) map[string][]harness.Entry {
	file := func(name string) harness.Entry { return harness.File(name, 0o644, "owned") }
	target := strings.TrimPrefix(outside, "/")
	up := strings.Repeat("../", 20) + target
	null := harness.Entry{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "disk", Mode: 0o666, Devmajor: 7, Devminor: 0}}
	return map[string][]harness.Entry{
		"dot-dot":                        {file(up + "/x")},
		"dot-dot in the middle":          {harness.Dir("a", 0o755), file("a/../" + up + "/x")},
		"absolute":                       {file(outside + "/x")},
		"symlink then write through it":  {harness.Symlink("link", outside), file("link/x")},
		"relative symlink then write":    {harness.Dir("a", 0o755), harness.Symlink("a/link", "../"+up), file("a/link/x")},
		"symlink chain":                  {harness.Symlink("one", "two"), harness.Symlink("two", outside), file("one/x")},
		"symlink then directory":         {harness.Symlink("link", outside), harness.Dir("link", 0o777), file("link/x")},
		"symlink then mode of directory": {harness.Symlink("link", outside), harness.Dir("link/", 0o7777)},
		"hard link outside":              {harness.Hardlink("h", up+"/victim")},
		"absolute hard link":             {harness.Hardlink("h", outside+"/victim")},
		"hard link outside then write":   {harness.Hardlink("h", up+"/victim"), file("h")},
		"hard link through symlink":      {harness.Symlink("link", outside), harness.Hardlink("h", "link/victim")},
		"device then write":              {null, file("disk")},
		"fifo then write":                {{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o644}}, file("pipe")},
		"duplicate entries":              {file("twice"), file("twice")},
		"file below a file":              {file("f"), file("f/below")},
		"symlink over the root":          {harness.Symlink(".", outside), file("x")},
		"name of dots":                   {file("..")},
		"symlink loop":                   {harness.Symlink("loop", "loop"), file("loop/x")},
		"very long name":                 {file(strings.Repeat("n", 5000))},
		"very deep name":                 {file(strings.Repeat("d/", 3000) + "x")},
		"xattr flood":                    {flood()},
	}
}

func flood() harness.Entry {
	e := harness.File("f", 0o644, "x")
	e.PAXRecords = map[string]string{}
	for i := range 800 { // just below what a pax header may hold
		e.PAXRecords["SCHILY.xattr.user.a"+itoa(int64(i))] = strings.Repeat("v", 1000)
	}
	return e
}

func TestHostileACI(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("innocent"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := harness.Scan(t, outside, harness.ScanOptions{})
	for name, entries := range hostile(outside) {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			r := h.Run("fetch", harness.ACI(t, harness.Manifest("example.com/evil", "1", nil), entries))
			contained(t, h, outside, before, r, 0)
		})
	}
}

func TestHostileLayers(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("innocent"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := harness.Scan(t, outside, harness.ScanOptions{})
	cases := hostile(outside)
	target := strings.TrimPrefix(outside, "/")
	up := strings.Repeat("../", 20) + target
	cases["whiteout outside"] = []harness.Entry{harness.File(up+"/.wh.victim", 0, "")}
	cases["whiteout through symlink"] = []harness.Entry{harness.Symlink("link", outside), harness.File("link/.wh.victim", 0, "")}
	cases["whiteout of dots"] = []harness.Entry{harness.File(".wh...", 0, ""), harness.File(".wh..", 0, "")}
	for name, entries := range cases {
		t.Run(name, func(t *testing.T) {
			for _, split := range []bool{false, true} { // all in one layer, or each entry in its own
				h := newHost(t)
				layers := [][]harness.Entry{entries}
				if split && len(entries) > 1 {
					layers = [][]harness.Entry{entries[:1], entries[1:]}
				}
				r := h.Run("fetch", "oci:"+harness.WriteLayout(t, harness.OCIImage(t, harness.OCIOptions{}, layers...)))
				mostTrees := 0
				if split {
					mostTrees = len(layers)
				}
				contained(t, h, outside, before, r, mostTrees)
			}
		})
	}
}

// contained: whatever the fetch said, nothing outside the store changed, and
// after a refusal no image is in it. Layers that are good in themselves may wait
// there for gc: at most mostTrees.
func contained(t *testing.T, h *harness.Host, outside string, before map[string]harness.Node, r harness.Result, mostTrees int) {
	t.Helper()
	if r.Status != 0 && r.Status != 254 {
		t.Errorf("neither accepted nor refused: %s", r)
	}
	harness.CompareTrees(t, "before", before, "after", harness.Scan(t, outside, harness.ScanOptions{}))
	if r.Status == 254 {
		if out := h.OK("image", "list", "--no-legend"); out != "" {
			t.Errorf("refused, and yet in the store: %s", out)
		}
		if trees, _ := os.ReadDir(filepath.Join(h.Dir, "cas", "tree")); len(trees) > mostTrees {
			t.Errorf("refused, and yet %d trees", len(trees))
		}
	}
	h.OK("image", "fsck")
	h.OK("image", "gc", "--grace-period=0s")
}

// TestBombs: more entries, more bytes or more manifest than any image has.
func TestBombs(t *testing.T) {
	header := func(name string, size int64) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, Format: tar.FormatPAX}
	}
	manifest := `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/bomb","labels":[{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}]}`
	bombs := map[string]func(w *tar.Writer, z io.Writer) error{
		"terabyte": func(w *tar.Writer, _ io.Writer) error {
			if err := w.WriteHeader(header("rootfs/big", 1<<40)); err != nil {
				return err
			}
			_, err := io.Copy(w, io.LimitReader(zeros{}, 64<<20))
			return err
		},
		"sparse terabyte": func(w *tar.Writer, z io.Writer) error {
			if err := w.Flush(); err != nil {
				return err
			}
			return sparseTerabyte(z)
		},
		"manifest of a gigabyte": func(w *tar.Writer, _ io.Writer) error {
			if err := w.WriteHeader(header("manifest", 1<<30)); err != nil {
				return err
			}
			_, err := io.Copy(w, io.LimitReader(zeros{}, 1<<30))
			return err
		},
		"size beyond the stream": func(w *tar.Writer, _ io.Writer) error {
			if err := w.WriteHeader(header("rootfs/short", 1<<30)); err != nil {
				return err
			}
			_, err := w.Write([]byte("short"))
			if err != nil {
				return err
			}
			return io.ErrShortWrite
		},
	}
	if os.Getenv("TORTURE") == "long" { // takes minutes; the short form is a unit test of pkg/layer
		bombs["ten million entries"] = func(w *tar.Writer, _ io.Writer) error {
			for i := range 10_000_000 {
				if err := w.WriteHeader(header("rootfs/f"+itoa(int64(i)), 0)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for name, write := range bombs {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			pipe := filepath.Join(t.TempDir(), "bomb.aci")
			f, err := os.Create(pipe)
			if err != nil {
				t.Fatal(err)
			}
			z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
			if err != nil {
				t.Fatal(err)
			}
			w := tar.NewWriter(z)
			if !strings.HasPrefix(name, "manifest") {
				if err := w.WriteHeader(header("manifest", int64(len(manifest)))); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(w, manifest); err != nil {
					t.Fatal(err)
				}
			}
			_ = write(w, z) // the writer may stop it: the stream is then cut, as a bomb's may be
			_ = z.Close()
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			r := h.Run("fetch", pipe)
			if r.Status != 254 {
				t.Errorf("not refused: %s", r)
			}
			t.Logf("refused after %s with %d MiB: %s", time.Since(start).Round(time.Millisecond), r.RSS>>20, strings.TrimSpace(r.Stderr))
			if r.RSS > 256<<20 {
				t.Errorf("took %d MiB of memory", r.RSS>>20)
			}
			if out := h.OK("image", "list", "--no-legend"); out != "" {
				t.Errorf("in the store: %s", out)
			}
			h.OK("image", "gc", "--grace-period=0s")
			h.CheckEmpty()
		})
	}
}

// sparseTerabyte is a file of a terabyte with one byte in it (pax format 1.0 of
// GNU tar). The writer of Go makes no sparse files, so the blocks are made by hand.
func sparseTerabyte(z io.Writer) error {
	var records string
	for _, kv := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=rootfs/big", "GNU.sparse.realsize=1099511627776"} {
		records += fmt.Sprintf("%d %s\n", len(kv)+4, kv) // two digits, a space, a line end
	}
	body := block("1\n1099511627775\n1\n") + block("x")
	_, err := io.WriteString(z, rawHeader("pax", 'x', len(records))+block(records)+rawHeader("rootfs/GNUSparseFile.0/big", '0', len(body)-511)+body+strings.Repeat("\x00", 1024))
	return err
}

// block pads to whole blocks.
func block(s string) string { return s + strings.Repeat("\x00", (512-len(s)%512)%512) }

// rawHeader is a ustar header block.
func rawHeader(name string, kind byte, size int) string {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00%011o\x00        %c", size, 0, kind))
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(h)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestGarbageFiles: files that are no images.
func TestGarbageFiles(t *testing.T) {
	h := newHost(t)
	var empty bytes.Buffer
	harness.Tar(t, &empty, nil)
	for name, body := range map[string]string{
		"empty":       "",
		"text":        "this is not an image\n",
		"noise":       harness.Noise(4, 100_000),
		"gzip header": "\x1f\x8b\x08\x00",
		"empty tar":   empty.String(),
		"zeros":       strings.Repeat("\x00", 10_240),
	} {
		file := filepath.Join(t.TempDir(), "x.aci")
		if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		if r := h.Run("fetch", file); r.Status != 254 || !strings.HasPrefix(r.Stderr, "fetch: ") && !strings.Contains(r.Stderr, "image: ") {
			t.Errorf("%s: %s", name, r)
		}
	}
}
