// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

const crowd = 16

// TestSameImageAtOnce: sixteen processes fetch one image; each layer
// is downloaded once and all say the same ID.
func TestSameImageAtOnce(t *testing.T) {
	testenv.NeedsRoot(t)
	reg := harness.NewRegistry(t)
	img := harness.OCIImage(t, harness.OCIOptions{}, harness.TinyEntries(t), harness.Layer("a", 30, 30_000), harness.Layer("b", 30, 30_000))
	image := harness.Push(t, reg.Addr, "same:v1", img)
	h := newHost(t)
	ids := make([]string, crowd)
	together(func(i int) { ids[i] = strings.TrimSpace(h.Run("fetch", "--full", image).Stdout) })
	for i, id := range ids {
		if id == "" || id != ids[0] {
			t.Errorf("process %d says %q, process 0 %q", i, id, ids[0])
		}
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if n := reg.SentOf(digest.String()); n != 1 {
			t.Errorf("layer %d was downloaded %d times", i+1, n)
		}
	}
	h.OK("image", "fsck")
	h.CollectAll()
}

func together(f func(i int)) {
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// TestCrowd: sixteen processes at once do everything there is to do with one
// store. Every answer has to be right and nobody may wait for ever.
func TestCrowd(t *testing.T) {
	testenv.NeedsRoot(t)
	limit := 40 * time.Second
	if os.Getenv("TORTURE") == "long" {
		limit = 30 * time.Minute
	}
	h := newHost(t)
	app := func(i int) map[string]any {
		return map[string]any{"exec": []string{"/bin/echo", fmt.Sprint("app ", i)}}
	}
	var images []string
	for i := range 4 {
		images = append(images, harness.ACI(t, harness.Manifest(fmt.Sprintf("example.com/box%d", i), "1", app(i)), harness.BusyboxEntries(t)))
	}
	layout := harness.WriteLayout(t, harness.OCIImage(t, harness.OCIOptions{}, harness.BusyboxEntries(t), harness.Layer("x", 10, 10_000)))
	end := time.Now().Add(limit)
	var mu sync.Mutex
	done := map[string]int{}
	bad := func(r harness.Result) { t.Errorf("%s", r) }
	together(func(i int) {
		dir := filepath.Join(h.Dir+"-files", fmt.Sprint(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Errorf("%v", err)
			return
		}
		for round := 0; time.Now().Before(end); round++ {
			what := ""
			switch n := i % len(images); (i + round) % 8 {
			case 0, 1:
				what = "run"
				if r := h.Run("run", "--net=host", images[n]); r.Status != 0 || r.Stdout != fmt.Sprintf("app %d\n", n) {
					bad(r)
				}
			case 2:
				what = "fetch"
				if r := h.Run("fetch", images[(n+1)%len(images)], "oci:"+layout); r.Status != 0 || strings.Count(r.Stdout, "sha512-") != 2 {
					bad(r)
				}
			case 3:
				what = "run and rm"
				file := filepath.Join(dir, "uuid")
				r := h.Run("run", "--uuid-file-save="+file, "--net=host", "oci:"+layout, "--exec=/bin/sh", "--", "-c", "echo out; exit 3")
				if r.Status != 3 || r.Stdout != "out\n" {
					bad(r)
				}
				if r := h.Run("rm", "--uuid-file="+file); r.Status != 0 && !strings.Contains(r.Stderr, "no matches found") {
					bad(r) // a gc may have been faster
				}
			case 4:
				what = "gc"
				if r := h.Run("gc", "--grace-period=0s"); r.Status != 0 {
					bad(r)
				}
			case 5:
				what = "image gc"
				if r := h.Run("image", "gc"); r.Status != 0 {
					bad(r)
				}
			case 6:
				what = "list"
				for _, args := range [][]string{{"list"}, {"list", "--format=json"}, {"image", "list"}} {
					if r := h.Run(args...); r.Status != 0 {
						bad(r)
					}
				}
			case 7:
				what = "image rm"
				own := harness.ACI(t, harness.Manifest(fmt.Sprintf("example.com/own%d-%d", i, round), "1", nil), []harness.Entry{harness.File("f", 0o644, fmt.Sprint(i, round))})
				r := h.Run("fetch", "--full", own)
				if r.Status != 0 {
					bad(r)
				}
				if r := h.Run("image", "rm", strings.TrimSpace(r.Stdout)); r.Status != 0 {
					bad(r)
				}
			}
			mu.Lock()
			done[what]++
			mu.Unlock()
		}
	})
	t.Logf("%v", done)
	h.OK("image", "fsck")
	h.CollectAll()
}
