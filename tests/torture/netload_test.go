// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// tiny makes the app of the pods a program that exits at once.
func (n *netPods) tiny() []string {
	n.t.Helper()
	app := webPort()
	app["exec"] = []string{"/bin/true"}
	image := n.Fetch(harness.ACI(n.t, harness.Manifest("example.com/tiny", "1", app), harness.TinyEntries(n.t)))
	return []string{image, "--name=app"}
}

// crowd runs pods in the same moment, wants each to end well with an address
// that no other has, and returns them.
func (n *netPods) crowd(count int, args func(i int) []string) (uuids []string) {
	n.t.Helper()
	results := make([]harness.Result, count)
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() { results[i] = n.Run(args(i)...) })
	}
	wg.Wait()
	for i, r := range results {
		if r.Status != 0 || r.Signal != 0 || len(errorLines(r)) > 0 {
			n.t.Errorf("pod %d: %s", i, r)
		}
	}
	uuids = n.Pods()
	addrs := map[netip.Addr]string{}
	for _, uuid := range uuids {
		n.kept("a crowd", uuid)
		a := n.address(uuid)
		if other, taken := addrs[a]; taken {
			n.t.Errorf("the pods %s and %s have the address %v", uuid, other, a)
		}
		addrs[a] = uuid
		lease := filepath.Join("/var/lib/cni/networks/default", a.String())
		if data, err := os.ReadFile(lease); err != nil || !strings.HasPrefix(string(data), uuid) {
			n.t.Errorf("lease of pod %s: %v, %q", uuid, err, data)
		}
	}
	if len(uuids) != count {
		n.t.Errorf("there are %d pods, want %d", len(uuids), count)
	}
	return uuids
}

// weight is what networks take of the machine.
type weight struct{ leases, rules, links, namespaces, records int }

// weigh counts what is on this host, and what belongs to given pods of what all
// hosts of the machine share.
func (n *netPods) weigh(uuids []string) (w weight) {
	n.t.Helper()
	mine := func(pattern string, is func(name string) bool) (count int) {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			if is(name) {
				count++
			}
		}
		return count
	}
	w.leases = mine("/var/lib/cni/networks/*/*", func(name string) bool {
		data, _ := os.ReadFile(name)
		return len(data) >= 36 && slices.Contains(uuids, string(data[:36]))
	})
	w.namespaces = mine("/run/netns/cni-*", func(name string) bool {
		return slices.Contains(uuids, strings.TrimPrefix(filepath.Base(name), "cni-"))
	})
	w.records = mine(filepath.Join(n.Dir, "net", "*", "*"), func(string) bool { return true })
	w.rules, w.links = strings.Count(n.lab.Rules(), "\n"), len(n.lab.Links())
	return w
}

// TestNetworksOfManyPods starts pods in batches and removes them. The machine is
// as it was after the first.
func TestNetworksOfManyPods(t *testing.T) {
	const port = 8040
	n := newNetPods(t, false)
	app := n.tiny()
	run := func(flags ...string) []string {
		return append(append([]string{"run", "--net=default"}, flags...), app...)
	}
	n.OK(run("--port=web:" + strconv.Itoa(port))...)
	n.swept("the first pod", n.Pods()...)
	before := n.weigh(nil)
	batches, each := pick(10, 50), 20
	var all []string
	begun := time.Now()
	for b := range batches {
		uuids := n.crowd(each, func(i int) []string {
			if i == 0 {
				return run("--port=web:" + strconv.Itoa(port))
			}
			return run()
		})
		if w := n.weigh(uuids); b == 0 && (w.leases < each || w.namespaces != each || w.records < each || w.rules <= before.rules || w.links <= before.links) {
			t.Errorf("%d pods weigh %+v, none %+v: the test shows nothing", each, w, before)
		}
		all = append(all, uuids...)
		n.OK("gc", "--grace-period=0s")
	}
	t.Logf("%d pods with networks in batches of %d: %s", batches*each, each, time.Since(begun).Round(time.Millisecond))
	n.swept("the last batch", all...)
	if w := n.weigh(all); w != before {
		t.Errorf("after %d pods %+v, before %+v", len(all), w, before)
	}
}

// TestNetworksAtOnce starts many pods with the default network in the same
// moment, then some with ports of the host that differ.
func TestNetworksAtOnce(t *testing.T) {
	n := newNetPods(t, false)
	app := n.tiny()
	for _, c := range []struct {
		name  string
		count int
		flags func(i int) []string
	}{
		{"pods at once", pick(50, 150), func(int) []string { return nil }},
		{"pods with ports at once", pick(20, 60), func(i int) []string { return []string{"--port=web:" + strconv.Itoa(8050+i)} }},
	} {
		allowInotify(t, c.count)
		begun := time.Now()
		uuids := n.crowd(c.count, func(i int) []string {
			return append(append([]string{"run", "--net=default"}, c.flags(i)...), app...)
		})
		t.Logf("%d %s: %s", c.count, c.name, time.Since(begun).Round(time.Millisecond))
		n.swept(c.name, uuids...)
	}
}

// TestNetworksComeAndGo has pods with networks come while others go, so that the
// last pod of one moment has a neighbour in the next.
func TestNetworksComeAndGo(t *testing.T) {
	const workers = 4
	n := newNetPods(t, false)
	app := n.tiny()
	dir := t.TempDir()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range pick(12, 200) {
				file := filepath.Join(dir, strconv.Itoa(w)+"-"+strconv.Itoa(i))
				r := n.Run(append([]string{"run", "--net=default", "--port=web:" + strconv.Itoa(8130+w), "--uuid-file-save=" + file}, app...)...)
				uuid, err := os.ReadFile(file)
				if err != nil || r.Status != 0 || len(errorLines(r)) > 0 {
					t.Errorf("%v: %s", err, r)
					continue
				}
				n.kept("among others", string(uuid))
				if r := n.Run("rm", string(uuid)); r.Status != 0 || len(errorLines(r)) > 0 {
					t.Errorf("%s", r)
				}
				if left := n.traces(string(uuid)); len(left) > 0 {
					t.Errorf("rm leaves %q", left)
				}
			}
		})
	}
	wg.Wait()
	n.swept("pods that have come and gone", n.Pods()...)
}
