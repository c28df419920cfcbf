// SPDX-License-Identifier: Apache-2.0

//go:build vm

package checks

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// faults: whatever of the host's services is killed or restarted, a pod goes on;
// afterwards it can be stopped in order and nothing of it stays.
func (h *host) faults() {
	image := h.netImage()
	h.unitFile("faulty", "Type=notify\n", "run", "--port=web:7200", "--uuid-file-save="+h.dir+"/uuid",
		image, "--name=app", "--memory=64Mi", "--exec=/bin/netprobe", "--", "serve", "faulty", "tcp::80")
	uuid := h.active("faulty")
	p := h.start(h.one("echo ready; exec sleep 1030", "--memory=48Mi")...)
	works := func(when string) {
		h.t.Helper()
		if out := h.tool(os.Getenv("RKT_NETPROBE"), "ask", "-t", "20s", "tcp", "127.0.0.1:7200"); !strings.HasPrefix(out, "faulty saw ") {
			h.t.Errorf("%s: %q", when, out)
		}
		for _, id := range []string{uuid, p.UUID} {
			if got := h.Status(id)["state"]; got != "running" {
				h.t.Errorf("%s: pod %s is %s", when, id, got)
			}
			h.OK("enter", id, "/bin/true")
		}
		if got := h.property("faulty", "ActiveState"); got != "active" {
			h.t.Errorf("%s: the unit is %s", when, got)
		}
		if got := h.control(p.UUID, "app", "memory.max"); got != "50331648" {
			h.t.Errorf("%s: memory.max is %q", when, got)
		}
	}
	works("at first")
	for _, name := range []string{"systemd-journald", "systemd-machined", "dbus", "systemd-udevd", "systemd-logind"} {
		if h.property(name, "ActiveState") != "active" {
			continue // Debian 13's machined starts when somebody asks
		}
		h.tool("systemctl", "kill", "--signal=KILL", name)
		works(name + " was killed")
		h.tool("systemctl", "start", name)
		works(name + " is back")
	}
	for _, verb := range []string{"daemon-reload", "daemon-reexec"} {
		h.tool("systemctl", verb)
		works(verb)
	}
	h.stopped("faulty")
	h.OK("stop", p.UUID)
	p.Wait()
	h.collect()
	h.swept()
}

// swept: no pod has a lease, rules or mounts.
func (h *host) swept() {
	h.t.Helper()
	leases, _ := filepath.Glob("/var/lib/cni/networks/*/*.*.*.*")
	if len(leases) > 0 {
		h.t.Errorf("leases: %v", leases)
	}
	if rules := h.tool("nft", "list", "ruleset"); strings.Contains(rules, "inet rkt") {
		h.t.Errorf("rules: %s", rules)
	}
}

// TestReboot is run three times: it starts pods, finds them ended in order after
// a reboot, starts others, and finds those after a crash.
func TestReboot(t *testing.T) {
	only(t, "systemd")
	disk := os.Getenv("RKT_VM_DISK")
	top := disk + "/reboot"
	inner := &harness.Host{T: t, Bin: harness.Program(t, "RKT_BIN", "rkt"), Dir: top + "/data", Flags: []string{"--insecure-options=image"}, Stage1: harness.Coreos}
	h := &host{Host: inner, t: t, dir: top}
	boot, _ := os.ReadFile(top + "/boot")
	switch string(boot) {
	case "":
		if err := os.MkdirAll(top+"/volume", 0o755); err != nil {
			t.Fatal(err)
		}
		h.startForReboot()
		write(t, disk+"/then-reboot", "")
		write(t, top+"/boot", "1")
	case "1":
		h.afterReboot("ready\nstopped\n")
		h.startForReboot()
		write(t, top+"/boot", "2")
	case "2":
		h.afterReboot("ready\n")
	default:
		t.Fatalf("boot %q", boot)
	}
}

// rebooted are the pods that a reboot meets, and the host ports they have.
var rebooted = []struct{ name, port string }{{"unit", "7301"}, {"session", "7302"}}

// startForReboot starts a pod as a unit and one in a session, with networks.
func (h *host) startForReboot() {
	h.t.Helper()
	image := h.netImage()
	for _, r := range rebooted {
		log := h.dir + "/volume/" + r.name
		_ = os.RemoveAll(log)
		if err := os.Mkdir(log, 0o755); err != nil {
			h.t.Fatal(err)
		}
		args := []string{
			"run", "--port=web:" + r.port, "--uuid-file-save=" + h.dir + "/" + r.name, "--volume=v,kind=host,source=" + log,
			image, "--name=app", "--mount=volume=v,target=/v", "--exec=/bin/sh", "--", "-c",
			"trap 'echo stopped >>/v/log; exit 0' TERM; echo ready >>/v/log; while :; do sleep 0.2; done",
		}
		if r.name == "unit" {
			h.unit([]string{"--unit=rebooted", "-p", "Type=notify", "-p", "KillMode=mixed", "-p", "TimeoutSec=5min"}, args...)
		} else { // goes on when this test has ended: rkt moves to a scope of its own
			cmd := h.Cmd(context.WithoutCancel(h.t.Context()), args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := cmd.Start(); err != nil {
				h.t.Fatal(err)
			}
		}
		eventually(h.t, r.name+" is ready", func() bool { b, _ := os.ReadFile(log + "/log"); return string(b) == "ready\n" })
	}
}

// afterReboot finds the pods exited with what they wrote, starts another one
// beside them, and collects all.
func (h *host) afterReboot(wrote string) {
	h.t.Helper()
	var uuids []string
	for _, r := range rebooted {
		uuid := read(h.t, h.dir+"/"+r.name)
		uuids = append(uuids, uuid)
		if got := h.Status(uuid)["state"]; got != "exited" {
			h.t.Errorf("pod of the %s is %s", r.name, got)
		}
		b, err := os.ReadFile(h.dir + "/volume/" + r.name + "/log")
		if err != nil || string(b) != wrote {
			h.t.Errorf("the pod of the %s wrote %q, %v", r.name, b, err)
		}
	}
	h.OK("run", "--port=web:"+rebooted[0].port, h.netImage(), "--exec=/bin/true")
	h.OK("gc", "--grace-period=0s")
	if left := h.Pods(); len(left) > 0 {
		h.t.Errorf("pods left after gc: %v", left)
	}
	h.CheckLeaks(uuids)
	h.swept()
}
