package treestore_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
)

func fsum(p string) (string, int64) {
	f, _ := os.Open(p)
	defer f.Close()
	h := sha256.New()
	n, _ := io.Copy(h, f)
	return fmt.Sprintf("sha256:%x", h.Sum(nil)), n
}

func TestBig(t *testing.T) {
	src := os.Getenv("BIG")
	if src == "" {
		t.Skip()
	}
	var img imagestore.OCIImage
	paths := map[string]string{}
	var ids []string
	cache := src + "/cache.json"
	if data, err := os.ReadFile(cache); err == nil {
		json.Unmarshal(data, &img.Layers)
		for i, d := range img.Layers {
			paths[d.Digest] = fmt.Sprintf("%s/l%d.tar.gz", src, i)
			ids = append(ids, d.DiffID)
		}
	} else {
		for i := range 8 {
			p := fmt.Sprintf("%s/l%d.tar.gz", src, i)
			dg, n := fsum(p)
			diff, _ := fsum(fmt.Sprintf("%s/l%d.tar", src, i))
			img.Layers = append(img.Layers, layer.Descriptor{Digest: dg, DiffID: diff, Size: n})
			paths[dg] = p
			ids = append(ids, diff)
		}
		data, _ := json.Marshal(img.Layers)
		os.WriteFile(cache, data, 0o644)
	}
	img.RawConfig, _ = json.Marshal(map[string]any{"rootfs": map[string]any{"diff_ids": ids}})
	img.Manifest = storetest.Manifest("big")
	dir := os.Getenv("BIGDIR")
	s := openAt(t, dir)
	for _, p := range paths {
		f, _ := os.Open(p)
		io.Copy(io.Discard, f)
		f.Close()
	}
	start := time.Now()
	im, err := s.images.BeginOCI(t.Context())
	must(t, err)
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(3)
	var mu sync.Mutex
	for _, d := range img.Layers {
		g.Go(func() error {
			err := im.PutLayer(ctx, d, func(_ context.Context, off int64) (io.ReadCloser, error) {
				f, err := os.Open(paths[d.Digest])
				if err != nil {
					return nil, err
				}
				f.Seek(off, 0)
				return f, nil
			})
			mu.Lock()
			fmt.Printf("put %s at %v\n", d.Digest[:14], time.Since(start))
			mu.Unlock()
			return err
		})
	}
	must(t, g.Wait())
	fmt.Printf("all put %v\n", time.Since(start))
	id, err := im.Commit(t.Context(), img)
	must(t, err)
	fmt.Printf("committed %v %s\n", time.Since(start), id[:20])
	must(t, im.Close())
	fmt.Printf("closed %v\n", time.Since(start))
	t1 := time.Now()
	_, err = s.trees.Render(t.Context(), id)
	must(t, err)
	fmt.Printf("render %v\n", time.Since(t1))
	data, _ := os.ReadFile("/proc/self/status")
	for _, l := range []string{"VmHWM", "VmRSS"} {
		i := indexOf(string(data), l)
		fmt.Println(string(data[i : i+30]))
	}
}

func indexOf(s, sub string) int {
	for i := range s {
		if len(s) >= i+len(sub) && s[i:i+len(sub)] == sub {
			return i
		}
	}
	return 0
}
