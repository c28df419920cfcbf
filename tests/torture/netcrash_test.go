// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// netScenario is a command on a pod with networks.
type netScenario struct {
	name string
	// begin brings the host to the state in which the command runs.
	begin func(n *netPods, port int)
	args  func(n *netPods, port int) []string
	// at once tells which errors leave nothing behind when the command ends.
	atOnce func(point string) bool
}

func netScenarios() []netScenario {
	ran := func(n *netPods, port int) {
		if r := n.Run(n.run(port, script)...); r.Status != 0 {
			n.t.Errorf("the next pod: %s", r)
		}
	}
	gc := func(*netPods, int) []string { return []string{"gc", "--grace-period=0s"} }
	never := func(string) bool { return false }
	return []netScenario{
		{
			name:  "run",
			begin: func(*netPods, int) {},
			args:  func(n *netPods, port int) []string { return n.run(port, script) },
			// A pod whose networks are there keeps them until gc, as any pod that ends.
			atOnce: func(point string) bool {
				return strings.HasPrefix(point, "net.") && point != "net.released" || strings.HasPrefix(point, "run.netns") || point == "stage1.net-started"
			},
		},
		{name: "gc", begin: ran, args: gc, atOnce: never},
		{
			name: "rm", begin: ran, atOnce: never,
			args: func(n *netPods, _ int) []string { return append([]string{"rm"}, n.Pods()...) },
		},
		{
			name: "sweep", args: gc, atOnce: never,
			begin: func(n *netPods, port int) {
				ran(n, port)
				for _, uuid := range n.Pods() {
					n.removeDir(uuid)
				}
			},
		},
	}
}

// netPointsOf runs the scenario's command once and returns the failpoints about
// networks that it reaches; rm may be killed at any, and so may all in the long
// form.
func netPointsOf(t *testing.T, n *netPods, s netScenario, port int) (names []string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "points")
	s.begin(n, port)
	n.Env = []string{envLog + "=" + log}
	n.OK(s.args(n, port)...)
	n.Env = nil
	n.swept("nothing", n.Pods()...)
	raw, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	all := netPoints(t)
	for name := range strings.FieldsSeq(string(raw)) {
		if (slices.Contains(all, name) || s.name == "rm" || long()) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// TestEveryFailpointOfNetworks kills, at each step that has to do with networks,
// the set-up of a pod, its removal and the sweep of what others have left, and
// lets each step fail. What has failed is taken back at once, what was killed
// by gc, and the next pod has the same network and port. The short form takes
// only one of two errors for each step.
func TestEveryFailpointOfNetworks(t *testing.T) {
	seen := make(chan []string, len(netScenarios()))
	t.Run("all", func(t *testing.T) {
		for i, s := range netScenarios() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				n, port := newNetPods(t, true), 8000+i
				points := netPointsOf(t, n, s, port)
				seen <- points
				for k, point := range points {
					actions := []string{"kill", "enospc", "eio"}
					if !long() {
						actions = slices.Delete(actions, 1+k%2, 2+k%2)
					}
					for _, action := range actions {
						netCrash(t, n, s, port, point, action)
					}
				}
				n.works(s.name, port)
			})
		}
	})
	missing := netPoints(t)
	for range len(seen) {
		points := <-seen
		missing = slices.DeleteFunc(missing, func(name string) bool { return slices.Contains(points, name) })
	}
	if len(missing) > 0 {
		t.Errorf("no command reaches the failpoints %v", missing)
	}
}

func netCrash(t *testing.T, n *netPods, s netScenario, port int, point, action string) {
	t.Helper()
	s.begin(n, port)
	uuids := n.known()
	args := s.args(n, port)
	after := s.name + " with " + point + "=" + action
	n.Env = []string{envArmed + "=" + point + "=" + action}
	r := n.Run(args...)
	n.Env = nil
	if len(uuids) == 0 {
		uuids = n.Pods()
	}
	switch {
	case action == "kill" && !wasKilled(r):
		t.Errorf("%s: nobody was killed: %s", after, r)
	case action != "kill" && (r.Signal != 0 || !strings.Contains(r.Stderr, "failpoint "+point+": ")):
		t.Errorf("%s: the failure is not named: %s", after, r)
	case action != "kill" && s.atOnce(point):
		n.bare(after, uuids...)
	}
	for _, uuid := range n.Pods() {
		n.ended(uuid, after)
	}
	if s.name == "rm" && len(n.Pods()) > 0 {
		if again := n.Run(args...); again.Status != 0 {
			t.Errorf("%s, again: %s", after, again)
		}
	}
	if strings.Contains(r.Stderr, "problem performing stage1 GC") { // see collected
		for _, uuid := range uuids {
			n.noCgroups(uuid)
		}
	}
	n.swept(after, uuids...)
	if s.name == "run" {
		whole(n.pods, r, after)
	}
}

// known are the pods that have a directory or a record of their networks.
func (n *netPods) known() []string {
	names, _ := filepath.Glob(filepath.Join(n.Dir, "net", "pods", "*"))
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	names = append(names, n.Pods()...)
	slices.Sort(names)
	return slices.Compact(names)
}
