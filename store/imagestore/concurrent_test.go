// SPDX-License-Identifier: Apache-2.0

package imagestore_test

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
)

// TestProcesses lets many processes loose on one store: none may fail or hang,
// and nothing may be lost.
func TestProcesses(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	start := func(verb string, n int) {
		wg.Go(func() {
			if out, err := run(ctx, dir, verb, strconv.Itoa(n)).CombinedOutput(); err != nil {
				t.Errorf("%s %d: %v\n%s", verb, n, err, out)
			}
		})
	}
	for i := range 4 {
		start("aci", 0) // the same
		start("aci", i) // different ones
		start("oci", i)
		start("oci", i)
		start("export", 0)
		start("rm", 90+i) // not there
		start("list", 0)
	}
	start("gc", 0)
	start("gc", 0)
	wg.Wait()
	s := openAt(t, dir)
	if got := len(list(t, s)); got != 8 {
		t.Errorf("%d images, want 8", got)
	}
	sameImages(t, s, list(t, s))

	// Now with removals in between: afterwards each image is there as a whole or
	// not at all.
	for i := range 4 {
		start("rm", i)
		start("rmoci", i)
		start("aci", i)
		start("oci", (i+1)%4)
		start("gc", 0)
	}
	wg.Wait()
	sameImages(t, s, list(t, s))
	for _, info := range list(t, s) {
		must(t, s.WriteACI(ctx, info.ID, io.Discard))
		must(t, s.Remove(ctx, info.ID))
	}
	if g, err := s.GC(ctx, imagestore.GCOptions{}); err != nil || len(g.Temporary)+len(g.Manifests) > 0 {
		t.Errorf("GC = %+v, %v", g, err)
	}
	for _, kind := range []string{"blob", "image", "imageManifest", "tmp", "imagelocks"} {
		files, err := filepath.Glob(filepath.Join(dir, kind, "*", "*"))
		must(t, err)
		if len(files) > 0 {
			t.Errorf("left: %v", files)
		}
	}
}

// TestDownloadOnce fetches a layer by two imports at once: the second waits
// and does not fetch.
func TestDownloadOnce(t *testing.T) {
	dir := t.TempDir()
	img := storetest.OCI(t, "example.com/x", storetest.Tar(t, storetest.File{Name: "f", Content: "f"}))
	d := img.Layers[0]
	opened := make(chan struct{})
	release := make(chan struct{})
	var opens atomic.Int32
	open := func(context.Context, int64) (io.ReadCloser, error) {
		if opens.Add(1) == 1 {
			close(opened)
		}
		<-release
		return io.NopCloser(bytes.NewReader(img.Blobs[d.Digest])), nil
	}
	var wg sync.WaitGroup
	put := func() {
		wg.Go(func() {
			im, err := openAt(t, dir).BeginOCI(t.Context())
			if err == nil {
				err = im.PutLayer(t.Context(), d, open)
			}
			if err == nil {
				_, err = im.Commit(t.Context(), img.OCIImage)
			}
			if err == nil {
				err = im.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	put()
	<-opened
	put()
	close(release)
	wg.Wait()
	if n := opens.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

// TestCrossedLayers has two imports with the same layers in opposite order:
// both finish, whoever gets which lock first.
func TestCrossedLayers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	a := storetest.Tar(t, storetest.File{Name: "a", Content: "a"})
	b := storetest.Tar(t, storetest.File{Name: "b", Content: "b"})
	images := []*storetest.Image{storetest.OCI(t, "example.com/ab", a, b), storetest.OCI(t, "example.com/ba", b, a)}
	var wg, both sync.WaitGroup
	both.Add(2)
	for _, img := range images {
		wg.Go(func() {
			im, err := openAt(t, dir).BeginOCI(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = im.Close() }()
			for i, d := range img.Layers {
				err := im.PutLayer(ctx, d, img.Open(d.Digest))
				if err != nil {
					t.Error(err)
				}
				if i == 0 {
					both.Done()
					both.Wait() // each has its first layer now
				}
			}
			if _, err := im.Commit(ctx, img.OCIImage); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestReaderOutlivesRemove: who opened an image reads it to the end.
func TestReaderOutlivesRemove(t *testing.T) {
	s := open(t)
	data := storetest.ACI(t, storetest.Manifest("example.com/app"), storetest.File{Name: "f", Content: string(make([]byte, 1<<20))})
	id, err := s.ImportACI(t.Context(), bytes.NewReader(data), imagestore.ImportOptions{})
	must(t, err)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.WriteACI(t.Context(), id, w) }()
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	go func() { removed <- s.Remove(t.Context(), id) }()
	if _, err := io.CopyN(io.Discard, r, int64(len(data)-1000)); err != nil {
		t.Fatal(err)
	}
	must(t, <-done)
	must(t, <-removed)
}

// TestCancel ends a download that hangs, and keeps what was received.
func TestCancel(t *testing.T) {
	s := open(t)
	img := storetest.OCI(t, "example.com/x", storetest.Tar(t, storetest.File{Name: "f", Content: "f"}))
	d := img.Layers[0]
	ctx, cancel := context.WithCancel(t.Context())
	im, err := s.BeginOCI(ctx)
	must(t, err)
	err = im.PutLayer(ctx, d, func(ctx context.Context, _ int64) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(img.Blobs[d.Digest][:50]), hanging{ctx, cancel})), nil
	})
	if ctx.Err() == nil || err == nil {
		t.Errorf("PutLayer: %v", err)
	}
	must(t, im.Close())
	im, err = s.BeginOCI(t.Context())
	must(t, err)
	must(t, im.PutLayer(t.Context(), d, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		if offset != 50 {
			t.Errorf("resumed at %d", offset)
		}
		return img.Open(d.Digest)(ctx, offset)
	}))
	must(t, im.Close())
}

// hanging blocks until its context ends, which it brings about.
type hanging struct {
	ctx    context.Context //nolint:containedctx // a network connection has one, too
	cancel func()
}

func (h hanging) Read([]byte) (int, error) {
	h.cancel()
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

// TestErrgroupContext commits after the context of the PutLayer calls ended,
// as golang.org/x/sync/errgroup does it.
func TestErrgroupContext(t *testing.T) {
	s := open(t)
	img := storetest.OCI(t, "example.com/x", storetest.Tar(t, storetest.File{Name: "f", Content: "f"}))
	im, err := s.BeginOCI(t.Context())
	must(t, err)
	defer func() { must(t, im.Close()) }()
	ctx, cancel := context.WithCancel(t.Context())
	for _, d := range img.Layers {
		must(t, im.PutLayer(ctx, d, img.Open(d.Digest)))
	}
	cancel()
	_, err = im.Commit(t.Context(), img.OCIImage)
	must(t, err)
}

// TestHostileStream has a limit for everything: endless zeros after the end of
// an archive, more entries than allowed, more bytes than allowed.
func TestHostileStream(t *testing.T) {
	s, err := imagestore.Open(t.Context(), t.TempDir(), imagestore.Options{
		Limits: layer.Limits{Entries: 50, Bytes: 1 << 20, Path: 4095, Manifest: 1 << 20, XattrSize: 1 << 10},
	})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	var many []storetest.File
	for i := range 100 {
		many = append(many, storetest.File{Name: strconv.Itoa(i)})
	}
	big := storetest.File{Name: "big", Content: string(make([]byte, 2<<20))}
	small := storetest.ACI(t, storetest.Manifest("example.com/x"))
	for name, data := range map[string]io.Reader{
		"endless end": io.MultiReader(bytes.NewReader(small), zeros{}),
		"padded bomb": bytes.NewReader(storetest.Gzip(t, append(bytes.Clone(small), make([]byte, 16<<20)...))),
	} {
		if _, err := s.ImportACI(t.Context(), data, imagestore.ImportOptions{}); err == nil {
			t.Errorf("ACI, %s: imported", name)
		}
	}
	for name, tar := range map[string][]byte{
		"entries": storetest.Tar(t, many...),
		"bytes":   storetest.Tar(t, big),
		"padding": append(storetest.Tar(t), make([]byte, 16<<20)...),
	} {
		if _, err := storetest.Import(t.Context(), s, storetest.OCI(t, "example.com/x", tar)); err == nil {
			t.Errorf("layer, %s: imported", name)
		}
	}
	if g, err := s.GC(t.Context(), imagestore.GCOptions{}); err != nil || len(g.Blobs)+len(g.Manifests) > 0 {
		t.Errorf("GC = %+v, %v", g, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
