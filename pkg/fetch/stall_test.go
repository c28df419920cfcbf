// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/compression"
)

// testStall is long enough for the requests that do not stall.
const testStall = time.Second

// A server that says nothing, stops in the middle or sends a byte now and then
// does not hold rkt for ever. What came is kept.
func TestURLStall(t *testing.T) {
	data := makeACI(t, imageManifest("example.com/app", ""), 200_000, compression.None)
	half := func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
	}
	drops := func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		tick := time.NewTicker(testStall / 10)
		defer tick.Stop()
		for i := range data {
			_, err := w.Write(data[i : i+1])
			if err = errors.Join(err, http.NewResponseController(w).Flush()); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-req.Context().Done():
				return
			}
		}
	}
	for name, tc := range map[string]struct {
		serve func(w http.ResponseWriter, req *http.Request)
		kept  bool
	}{
		"no answer":     {func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }, false},
		"in the middle": {half, true},
		"drop by drop":  {drops, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, false, data)
			s.handle = func(w http.ResponseWriter, req *http.Request) bool {
				tc.serve(w, req)
				return true
			}
			store := newFakeStore(t)
			f, _ := fetcher(store)
			f.Stall = testStall
			_, err := f.Fetch(t.Context(), s.URL+"/a.aci", ImageOptions{})
			wantError(t, err, "error downloading ACI", errStalled.Error())
			if !errors.Is(err, errStalled) {
				t.Error("the error is not errStalled")
			}
			if left := store.leftovers(t); len(left) > 0 != tc.kept {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// A layer that stalls is asked for again, from where it stopped.
func TestDockerStall(t *testing.T) {
	t.Parallel()
	image := makeImage(t, "x", linuxAMD64, compression.None)
	layer := image.layers[0]
	h := newHub(t, true)
	h.push(t, "app", "1", image)
	stalls := make(chan struct{}, 1)
	stalls <- struct{}{}
	h.set(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, layer.Digest) || req.Method != http.MethodGet {
			return false
		}
		select {
		case <-stalls:
			w.Header().Set("Content-Length", strconv.FormatInt(layer.Size, 10))
			_, _ = w.Write(image.blobs[layer.Digest][:100])
			_ = http.NewResponseController(w).Flush()
			<-req.Context().Done()
			return true
		default:
			return false
		}
	})
	f, out := fetcher(newFakeStore(t))
	f.Insecure.TLS = true
	f.Stall = testStall
	if _, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "broke at byte 100 ("+errStalled.Error()+"), trying again") {
		t.Errorf("output:\n%s", out)
	}
}
