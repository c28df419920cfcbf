// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/tests/harness"
)

// TestKillWhileNetworksAreMade kills those who take part in the set-up of
// networks, and ends rkt in order, while the plugin of the second network hangs
// and the first is there. Whoever is left takes back what was done; where nobody
// is, gc does.
func TestKillWhileNetworksAreMade(t *testing.T) {
	// A plugin that was told to end may not keep its caller for longer.
	const bounded = 10 * time.Second
	n := newNetPods(t, false)
	plugin := n.slowNet()
	hangIn(t, plugin, "ADD")
	for _, c := range []struct {
		name, victim string
		signal       syscall.Signal
		command      []string // instead of the signal
		left         bool     // nobody is there to take anything back
	}{
		{name: "SIGKILL of the plugin", victim: "slow", signal: unix.SIGKILL},
		{name: "SIGTERM to the plugin", victim: "slow", signal: unix.SIGTERM},
		{name: "SIGTERM to net", victim: "net", signal: unix.SIGTERM},
		{name: "SIGKILL of net", victim: "net", signal: unix.SIGKILL, left: true},
		{name: "SIGTERM to rkt", signal: unix.SIGTERM},
		{name: "SIGINT to rkt", signal: unix.SIGINT},
		{name: "SIGKILL of rkt", signal: unix.SIGKILL},
		{name: "rkt stop", command: []string{"stop"}},
		{name: "rkt stop --force", command: []string{"stop", "--force"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := n.of(t)
			_ = os.Remove(plugin)
			_ = os.Remove(plugin + ".del")
			const port = 8010
			args := n.run(port, script)
			args[1] = "--net=default,slow"
			proc := n.start(args...)
			if !harness.WaitFor(harness.Timeout, func() bool { _, err := os.Stat(plugin); return err == nil || proc.Ended() }) || proc.Ended() {
				t.Fatalf("the plugin was not called: %s", proc.Wait())
			}
			if left := n.traces(proc.UUID); len(left) == 0 {
				t.Errorf("there is no network yet: the test shows nothing")
			}
			pid := proc.Cmd.Process.Pid
			if c.victim != "" {
				pids := n.below(c.victim)
				if len(pids) != 1 {
					t.Fatalf("%s is %v", c.victim, pids)
				}
				pid = pids[0]
			}
			at := time.Now()
			if c.command != nil {
				n.OK(append(slices.Clone(c.command), proc.UUID)...)
			} else if err := unix.Kill(pid, c.signal); err != nil {
				t.Fatal(err)
			}
			r := proc.Wait()
			if r.Signal == 0 && r.Status != 254 || c.victim != "" && !strings.Contains(r.Stderr, "failed to setup network") {
				t.Errorf("after %s: %s", c.name, r)
			}
			if c.left { // nor anybody who ends the plugin
				for _, pid := range n.below("slow") {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
			if !harness.WaitFor(bounded, func() bool { return len(n.below("")) == 0 }) {
				t.Errorf("%s after %s there are still %v", bounded, c.name, n.below(""))
			}
			if took := time.Since(at); took > bounded {
				t.Errorf("%s after %s all is over", took, c.name)
			}
			n.ended(proc.UUID, c.name)
			if !c.left {
				n.bare(c.name, proc.UUID)
				if _, err := os.Stat(plugin + ".del"); err != nil {
					t.Errorf("after %s the plugin was not called again: %v", c.name, err)
				}
			}
			n.swept(c.name, proc.UUID)
			n.works(c.name, port)
		})
	}
}

// of is the same host for a part of the test.
func (n *netPods) of(t *testing.T) *netPods {
	p := *n.pods
	p.t = t
	return &netPods{pods: &p, lab: n.lab, links: n.links}
}

// TestKillSupervisorWithNetworks kills the supervisor of a pod that serves:
// who connects is refused or cut off, and gc leaves nothing.
func TestKillSupervisorWithNetworks(t *testing.T) {
	const port = 8011
	n := newNetPods(t, false)
	proc := n.serving(port)
	proc.Killed()
	n.ended(proc.UUID, "SIGKILL")
	if n.answers(port) {
		t.Errorf("a dead pod answers")
	}
	n.swept("SIGKILL", proc.UUID)
	n.works("SIGKILL", port)
}

// TestNetworksThatFail gives pods networks that cannot be made for reasons of
// their own. Nothing is left when rkt says so.
func TestNetworksThatFail(t *testing.T) {
	const port = 8012
	n := newNetPods(t, false)
	server := n.serving(port)
	n.links = n.lab.Links()
	before := n.lab.Rules()
	at := func(net string, flags ...string) []string {
		args := append(slices.Clone(flags), n.app(script)...)
		return append([]string{"run", "--net=" + net}, args...)
	}
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"the port is taken", "is already in use by pod " + server.UUID, at("default", "--port=web:"+strconv.Itoa(port))},
		{"no such network", "networks not found", at("default,nowhere")},
		{"an address of another network", "", at("default:IP=192.0.2.1")},
	} {
		known := n.Pods()
		r := n.Run(c.args...)
		if r.Status != 254 || !strings.Contains(r.Stderr, c.want) {
			t.Errorf("%s: %s", c.name, r)
		}
		for _, uuid := range n.Pods() {
			if left := n.traces(uuid); !slices.Contains(known, uuid) && len(left) > 0 {
				t.Errorf("after %s there is %q", c.name, left)
			}
		}
		if rules := n.lab.Rules(); rules != before {
			t.Errorf("after %s there are the rules\n%s\nbefore\n%s", c.name, rules, before)
		}
		if links := n.lab.Links(); !harness.WaitFor(moment, func() bool { return slices.Equal(n.lab.Links(), n.links) }) {
			t.Errorf("after %s there are the interfaces %v", c.name, links)
		}
	}
	if !n.answers(port) {
		t.Errorf("the pod that was there before does not answer")
	}
	n.stopped(server)
	n.OK("gc", "--grace-period=0s")
}

// TestNetworksBesideOneThatHangs wants neither other pods nor gc to wait for a
// plugin that hangs. What is to be swept is swept later.
func TestNetworksBesideOneThatHangs(t *testing.T) {
	const port, other = 8013, 8014
	const bounded = 10 * time.Second
	n := newNetPods(t, false)
	gone := n.gone(other)
	plugin := n.slowNet()
	hangIn(t, plugin, "ADD")
	args := n.run(port, script)
	args[1] = "--net=default,slow"
	hangs := n.start(args...)
	if !harness.WaitFor(harness.Timeout, func() bool { _, err := os.Stat(plugin); return err == nil || hangs.Ended() }) || hangs.Ended() {
		t.Fatalf("the plugin was not called: %s", hangs.Wait())
	}
	for _, args := range [][]string{n.run(other, script), {"gc", "--grace-period=0s"}, {"list"}, {"status", hangs.UUID}} {
		if r := n.Run(args...); r.Status != 0 || r.Took > bounded {
			t.Errorf("beside a set-up that hangs: %s", r)
		}
	}
	n.networked("its set-up hangs", hangs.UUID)
	hangs.Signal(unix.SIGTERM)
	hangs.Wait()
	harness.WaitFor(bounded, func() bool { return len(n.below("")) == 0 })
	n.swept("a set-up that hung", gone, hangs.UUID)
}

// TestKillWhileNetworksAreTakenDown kills those who take part in the deletion of
// a pod while a plugin hangs. The next gc has nothing to wait for.
func TestKillWhileNetworksAreTakenDown(t *testing.T) {
	const port = 8015
	const bounded = 10 * time.Second
	n := newNetPods(t, false)
	plugin := n.slowNet()
	for _, c := range []struct {
		name, victim string
		signal       syscall.Signal
		command      string // that is killed
	}{
		{"SIGKILL of the plugin", "slow", unix.SIGKILL, "gc"},
		{"SIGTERM to net", "net", unix.SIGTERM, "gc"},
		{"SIGKILL of net", "net", unix.SIGKILL, "rm"},
		{"SIGKILL of rkt gc", "", unix.SIGKILL, "gc"},
		{"SIGTERM to rkt gc", "", unix.SIGTERM, "gc"},
		{"SIGKILL of rkt rm", "", unix.SIGKILL, "rm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := n.of(t)
			args := n.run(port, script)
			args[1] = "--net=default,slow"
			n.OK(args...)
			uuids := n.Pods()
			_ = os.Remove(plugin)
			hangIn(t, plugin, "DEL")
			args = []string{"gc", "--grace-period=0s"}
			if c.command == "rm" {
				args = append([]string{"rm"}, uuids...)
			}
			proc := n.Start(args...)
			if !harness.WaitFor(harness.Timeout, func() bool { _, err := os.Stat(plugin); return err == nil || proc.Ended() }) || proc.Ended() {
				t.Fatalf("the plugin was not called: %s", proc.Wait())
			}
			pid := proc.Cmd.Process.Pid
			if c.victim != "" {
				pids := n.below(c.victim)
				if len(pids) != 1 {
					t.Fatalf("%s is %v", c.victim, pids)
				}
				pid = pids[0]
			}
			hung := n.below("slow")
			hangIn(t, plugin, "") // gc may call it again at once
			if err := unix.Kill(pid, c.signal); err != nil {
				t.Fatal(err)
			}
			// Others may still have its outputs.
			if !harness.WaitFor(bounded, func() bool { return errors.Is(unix.Kill(proc.Cmd.Process.Pid, 0), unix.ESRCH) }) {
				t.Errorf("%s after %s rkt has not ended", bounded, c.name)
			}
			if r := n.Run("gc", "--grace-period=0s"); r.Status != 0 || r.Took > bounded {
				t.Errorf("gc after %s: %s", c.name, r)
			}
			// Whoever has lost its caller goes on when the plugin ends, and finds
			// nothing to do any more.
			for _, pid := range hung {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			if !harness.WaitFor(bounded, func() bool { return len(n.below("")) == 0 }) {
				t.Errorf("%s after %s and the end of the plugin there are still %v", bounded, c.name, n.below(""))
			}
			proc.Wait()
			n.swept(c.name, uuids...)
			n.works(c.name, port)
		})
	}
}
