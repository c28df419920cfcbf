// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"strings"
	"sync"
	"testing"
)

func TestTidy(t *testing.T) {
	eachBackend(t, func(t *testing.T, b inside) {
		tidy := func() { b.ns.must(t, b.Tidy) }
		tidy()
		b.mustAdd(t, numbered(1))
		before := b.rules(t)
		tidy()
		if after := b.rules(t); after != before {
			t.Errorf("tidied away rules of a pod, before\n%safter\n%s", before, after)
		}
		b.ns.must(t, func() error { return b.Remove(numbered(1).ID) })
		tidy()
		if left := b.rules(t); strings.Contains(left, "rkt") || strings.Contains(left, "RKT") {
			t.Errorf("left:\n%s", left)
		}
		b.mustAdd(t, numbered(2))
		if got := b.missing(t, numbered(2)); got != "" {
			t.Errorf("missing after Tidy and Add: %s", got)
		}
	})
}

// TestTidyMeanwhile: a pod that comes while the table is removed has its rules.
func TestTidyMeanwhile(t *testing.T) {
	eachBackend(t, func(t *testing.T, b inside) {
		if b.Name() != "nftables" {
			return // iptables has nothing to tidy
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					b.ns.must(t, newNft().Tidy)
				}
			}
		})
		for n := range 40 {
			b.mustAdd(t, numbered(n))
			if got := b.missing(t, numbered(n)); got != "" {
				t.Errorf("pod %d misses %s", n, got)
			}
			b.ns.must(t, func() error { return b.Remove(numbered(n).ID) })
		}
		close(stop)
		wg.Wait()
	})
}
