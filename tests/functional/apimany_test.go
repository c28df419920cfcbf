// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// TestAPIListsManyWhilePodsGo: a thousand pods, in little time, while others
// are damaged and removed.
func TestAPIListsManyWhilePodsGo(t *testing.T) {
	testenv.NeedsRoot(t)
	if len(harness.Flavors("fly")) == 0 {
		t.Skip("RKT_TEST_FLAVORS leaves fly out")
	}
	h := harness.NewHost(t)
	h.Stage1 = "coreos.com/rkt/stage1-fly"
	image := h.Fetch(harness.Busybox(t, nil))
	if r := h.Run(sh(image, "true")...); r.Status != 0 {
		t.Fatal(r)
	}
	first := h.PodDir(h.Pods()[0])
	const stay, pass = 1000, 200
	clone := func(kind, i int) string {
		dir := filepath.Join(filepath.Dir(first), fmt.Sprintf("%08x-0000-4000-8000-%012x", kind, i))
		for _, name := range []string{"pod", "pod-created", "ppid", "pid", "appsinfo", "stage1/manifest"} {
			from := filepath.Join(first, name)
			st, err := os.Stat(from)
			switch {
			case err != nil: // not all flavors have all of them
			case st.IsDir():
				err = os.CopyFS(filepath.Join(dir, name), os.DirFS(from))
			default:
				var data []byte
				if data, err = os.ReadFile(from); err == nil {
					err = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o750)
				}
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, name), data, 0o640) //nolint:gosec // as pods have it
				}
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		return dir
	}
	var staying []string
	for i := range stay {
		staying = append(staying, filepath.Base(clone(1, i)))
	}
	var passing []string
	for i := range pass {
		passing = append(passing, clone(2, i))
	}
	t.Cleanup(func() { // they are no pods that could be collected
		for i := range stay {
			_ = os.RemoveAll(filepath.Join(filepath.Dir(first), staying[i]))
		}
		for _, dir := range passing {
			_ = os.RemoveAll(dir)
		}
	})
	api, _ := startAPI(t, h, nil)
	ctx := apiContext(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, dir := range passing {
			_ = os.WriteFile(filepath.Join(dir, "pod"), []byte("{\"apps\":[{\"name\":7}"), 0o600)
			_ = os.RemoveAll(filepath.Join(dir, "appsinfo"))
			if i%2 == 0 {
				_ = os.RemoveAll(dir)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	var took []time.Duration
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		began := time.Now()
		r, err := api.ListPods(ctx, &v1alpha.ListPodsRequest{})
		took = append(took, time.Since(began))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]*v1alpha.Pod{}
		for _, p := range r.GetPods() {
			seen[p.GetId()] = p
		}
		for _, id := range staying {
			if p := seen[id]; p.GetState() != v1alpha.PodState_POD_STATE_EXITED || len(p.GetApps()) != 1 || p.GetApps()[0].GetImage().GetName() == "" {
				t.Fatalf("pod %s: %v", id, p)
			}
		}
	}
	slices.Sort(took)
	t.Logf("%d lists of more than %d pods: fastest %s, median %s", len(took), stay, took[0], took[len(took)/2])
	if took[0] > 2*time.Second { // the benchmark has the real budget
		t.Errorf("the fastest list took %s", took[0])
	}
}
