// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

const thousand = 1000

// thousandPods: list and gc with a thousand exited pods.
func thousandPods(b *bench) []row {
	h := harness.NewHost(b)
	image := h.Fetch(harness.ACI(b, harness.Manifest("example.com/tiny", "1", map[string]any{"exec": []string{"/bin/true"}}), harness.TinyEntries(b)))
	start := time.Now()
	for range thousand {
		b.timed(h.Cmd(context.Background(), "run", "--net=host", image))
	}
	each := time.Since(start) / thousand
	list := b.repeat(h, "list")
	if n := strings.Count(h.OK("list", "--no-legend"), "\n"); n != thousand {
		b.Fatalf("list shows %d pods", n)
	}
	api := apiLists(b, h, thousand)
	gc := b.timed(h.Cmd(context.Background(), "gc", "--grace-period=0s"))
	left := len(h.Pods())
	return []row{
		limit("rkt list, 1,000 exited pods", list, 100*time.Millisecond, ms),
		limit("API lists 1,000 exited pods", api, 200*time.Millisecond, ms),
		{what: "rkt run, mean of 1,000 one after the other", rkt: ms(each), peer: "-", ratio: "-", budget: "-", met: true},
		withComment(limit("rkt gc, 1,000 exited pods", gc.took, 5*time.Second, seconds), left > 0, fmt.Sprintf("%d pods left", left)),
	}
}

// thousandImages: image list with a thousand images.
func thousandImages(b *bench) []row {
	h := harness.NewHost(b)
	const batch = 100
	for i := 0; i < thousand; i += batch {
		args := []string{"fetch"}
		for j := range batch {
			args = append(args, harness.ACI(b, harness.Manifest(fmt.Sprintf("example.com/image-%04d", i+j), "1", nil), []harness.Entry{harness.File("f", 0o644, fmt.Sprint(i+j))}))
		}
		h.OK(args...)
	}
	list := b.repeat(h, "image", "list")
	if n := strings.Count(h.OK("image", "list", "--no-legend"), "\n"); n != thousand {
		b.Fatalf("image list shows %d images", n)
	}
	return []row{limit("rkt image list, 1,000 images", list, 100*time.Millisecond, ms)}
}

// repeat is the median of a few runs.
func (b *bench) repeat(h *harness.Host, args ...string) time.Duration {
	var all []time.Duration
	for range max(5, b.long()) {
		all = append(all, b.timed(h.Cmd(context.Background(), args...)).took)
	}
	return median(all)
}

func limit(what string, got, most time.Duration, show func(time.Duration) string) row {
	return row{what: what, rkt: show(got), peer: "-", ratio: "-", budget: show(most), met: got <= most}
}

func withComment(r row, bad bool, comment string) row {
	if bad {
		r.met, r.comment = false, comment
	}
	return r
}
