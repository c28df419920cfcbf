// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/compression"
)

func deps(t *testing.T) (*Deps, *bytes.Buffer) {
	t.Helper()
	var errs bytes.Buffer
	return &Deps{
		Stdout: io.Discard, Stderr: &errs, Getenv: func(string) string { return "" },
		Now: func() time.Time { return time.Unix(0, 0) },
	}, &errs
}

func makeLayout(t *testing.T) string {
	t.Helper()
	d := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(d, "rootfs"), 0o755),
		os.WriteFile(filepath.Join(d, "rootfs/a"), bytes.Repeat([]byte("x"), 1<<20), 0o644),
		os.WriteFile(filepath.Join(d, "manifest"), []byte(`{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a"}`), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// An interrupted command leaves nothing behind.
func TestInterrupted(t *testing.T) {
	layout, out := makeLayout(t), t.TempDir()
	image := filepath.Join(out, "a.aci")
	d, errs := deps(t)
	if status := Main(context.Background(), d, []string{"build", layout, image}); status != statusOK {
		t.Fatalf("%d: %s", status, errs)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, args := range [][]string{
		{"build", layout, filepath.Join(out, "b.aci")},
		{"build", "--overwrite", layout, image},
		{"patch-manifest", "--name=b", image, filepath.Join(out, "b.aci")},
		{"patch-manifest", "--replace", "--name=b", image},
		{"extract", image, filepath.Join(out, "dir")},
		{"validate", image},
		{"cat-manifest", image},
	} {
		errs.Reset()
		if status := Main(ctx, d, args); status != statusFailed || !strings.Contains(errs.String(), context.Canceled.Error()) {
			t.Errorf("%v: %d, %s", args, status, errs)
		}
	}
	entries, err := os.ReadDir(out)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if status := Main(context.Background(), d, []string{"validate", image}); status != statusOK {
		t.Errorf("the image was damaged: %s", errs)
	}
}

// fullDisk fails after some bytes.
type fullDisk struct{ left int }

var errFull = errors.New("no space left on device")

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestStickyWriter(t *testing.T) {
	w := &stickyWriter{w: &fullDisk{left: 10}}
	err := compression.Spec{Type: compression.None}.Compress(w, func(z io.Writer) error { _, err := z.Write(make([]byte, 20)); return err })
	if !errors.Is(err, errFull) || !errors.Is(w.err, errFull) {
		t.Errorf("%v, %v", err, w.err)
	}
}

func TestIsText(t *testing.T) {
	for in, want := range map[string]bool{
		"": false, "{}": true, "ü": true, "ab\xc3": true, "\xff": false, "a\x00": false, "a\x7fb\n": true, "\x01": false,
	} {
		if isText([]byte(in)) != want {
			t.Errorf("%q", in)
		}
	}
}
