// SPDX-License-Identifier: Apache-2.0

//go:build vm

package checks

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// active starts a unit and waits until it is active.
func (h *host) active(name string) (uuid string) {
	h.t.Helper()
	h.tool("systemctl", "start", name)
	eventually(h.t, name+" is active", func() bool { return h.property(name, "ActiveState") == "active" })
	eventually(h.t, "the pod has a UUID", func() bool { b, err := os.ReadFile(h.dir + "/uuid"); return err == nil && len(b) > 0 })
	return h.uuid()
}

// stopped stops a unit, which has to end well.
func (h *host) stopped(name string) {
	h.t.Helper()
	h.tool("systemctl", "stop", name)
	if state, result := h.property(name, "ActiveState"), h.property(name, "Result"); state != "inactive" || result != "success" {
		h.t.Errorf("%s after the stop: %s, %s: %s", name, state, result, h.tool("journalctl", "-n50", "-u", name))
	}
}

// runs waits until a command line runs.
func (h *host) runs(words ...string) {
	h.t.Helper()
	eventually(h.t, strings.Join(words, " ")+" runs", func() bool { return programs(words...) == 1 })
}

// simple: a unit without a type, started by its path alone. It is active while
// the pod runs, and its status is the pod's.
func (h *host) simple() {
	h.unitFile("simple", "", h.one("exec sleep 1010")...)
	uuid := h.active("simple")
	h.runs("sleep", "1010")
	if pid := h.property("simple", "MainPID"); h.Status(uuid)["state"] != "running" || pid == "0" {
		h.t.Errorf("main process %s, %v", pid, h.Status(uuid))
	}
	h.stopped("simple")
	h.collect()
	h.unitFile("simple", "", h.one("exit 7")...)
	h.tool("systemctl", "start", "simple")
	eventually(h.t, "failed with the status of the app", func() bool {
		return h.property("simple", "ActiveState") == "failed" && h.property("simple", "ExecMainStatus") == "7"
	})
	h.collect()
}

// readyByApp: the READY=1 of an app that speaks the protocol is what makes the
// unit active.
func (h *host) readyByApp() {
	probe, err := os.ReadFile(os.Getenv("RKT_NETPROBE"))
	if err != nil {
		h.t.Fatal(err)
	}
	m := harness.Manifest("example.com/notifier", "1", map[string]any{})
	m["annotations"] = []map[string]string{{"name": "appc.io/executor/supports-systemd-notify", "value": "true"}}
	inner := *h
	inner.image = h.Fetch(harness.ACI(h.t, m, append(harness.BusyboxEntries(h.t), harness.File("bin/netprobe", 0o755, string(probe)))))
	dir := h.t.TempDir()
	h.unitFile("ready", "Type=notify\n", inner.app([]string{"--volume=v,kind=host,source=" + dir}, []string{"--mount=volume=v,target=/v"}, "/bin/sh", "-c",
		"echo up >/v/up; while ! test -e /v/go; do sleep 0.1; done; netprobe notify READY=1; exec sleep 1011")...)
	h.tool("systemctl", "start", "--no-block", "ready")
	eventually(h.t, "the app is up", func() bool { _, err := os.Stat(dir + "/up"); return err == nil })
	time.Sleep(2 * time.Second)
	if got := h.property("ready", "ActiveState"); got != "activating" {
		h.t.Errorf("before the app is ready: %s", got)
	}
	write(h.t, dir+"/go", "")
	eventually(h.t, "active", func() bool { return h.property("ready", "ActiveState") == "active" })
	h.stopped("ready")
	h.collect()
}

// killModes: a stop is orderly with each mode, and leaves no process.
func (h *host) killModes() {
	for _, mode := range []string{"control-group", "mixed", "process"} {
		log := h.t.TempDir()
		h.unitFile("killmode", "KillMode="+mode+"\nType=notify\n", h.app([]string{"--volume=v,kind=host,source=" + log}, []string{"--mount=volume=v,target=/v"}, "/bin/sh", "-c",
			"trap 'echo stopped >>/v/log; exit 0' TERM; echo ready >>/v/log; while :; do sleep 0.2; done")...)
		uuid := h.active("killmode")
		eventually(h.t, "ready", func() bool { _, err := os.Stat(log + "/log"); return err == nil })
		h.stopped("killmode")
		if got := read(h.t, log+"/log"); got != "ready\nstopped" {
			h.t.Errorf("%s: the app wrote %q", mode, got)
		}
		// A pod whose own systemd gets SIGTERM, too, may be gone before that has told
		// how the app has ended.
		if mode != "control-group" {
			if e := h.exit(uuid, "app"); e.Code != 0 || e.Signal != 0 {
				h.t.Errorf("%s: %+v", mode, e)
			}
		}
		if got := h.Status(uuid)["state"]; got != "exited" {
			h.t.Errorf("%s: the pod is %s", mode, got)
		}
		h.collect()
	}
}

// slice: a pod is where its unit's slice is, and systemd-cgls and machinectl show it there.
func (h *host) slice() {
	h.unitFile("sliced", "Type=notify\nSlice=machine.slice\n", h.one("exec sleep 1012")...)
	uuid := h.active("sliced")
	h.runs("sleep", "1012")
	if got := h.subcgroup(uuid); got != "machine.slice/sliced.service/payload" {
		h.t.Errorf("subcgroup %q", got)
	}
	if got := h.tool("systemd-cgls", "--no-pager", "--full", "--unit", "sliced.service"); !strings.Contains(got, "sleep 1012") || !strings.Contains(got, "app.service") {
		h.t.Errorf("systemd-cgls: %s", got)
	}
	if got := h.tool("systemctl", "status", "--no-pager", "sliced"); !strings.Contains(got, "sleep 1012") {
		h.t.Errorf("systemctl status: %s", got)
	}
	if got := h.tool("machinectl", "status", "--no-pager", "rkt-"+uuid); !strings.Contains(got, "Service: rkt; class container") || !strings.Contains(got, "sliced.service") {
		h.t.Errorf("machinectl status: %s", got)
	}
	h.stopped("sliced")
	h.collect()
	h.unitFile("sliced", "Type=notify\nSlice=a-b.slice\n", h.one("exec sleep 1012")...)
	if got := h.subcgroup(h.active("sliced")); got != "a.slice/a-b.slice/sliced.service/payload" {
		h.t.Errorf("subcgroup %q", got)
	}
	h.stopped("sliced")
	h.collect()
}

// settings: what the unit says of resources holds for the pod.
func (h *host) settings() {
	h.unitFile("settings", "Type=notify\nDelegate=yes\nTasksMax=77\nCPUQuota=150%\nMemoryMax=300M\nNice=7\n",
		h.one("nice; exec sleep 1013")...)
	uuid := h.active("settings")
	h.runs("sleep", "1013")
	group := filepath.Dir(filepath.Join(mount, h.subcgroup(uuid)))
	for file, want := range map[string]string{"pids.max": "77", "cpu.max": "150000 100000", "memory.max": "314572800"} {
		if got := read(h.t, filepath.Join(group, file)); got != want {
			h.t.Errorf("%s of the unit is %q", file, got)
		}
	}
	h.stopped("settings")
	if got := strings.Fields(h.OK("logs", "-o", "cat", uuid)); len(got) != 1 || got[0] != "7" {
		h.t.Errorf("the app is nice by %q", got)
	}
	h.collect()
}

// stopPost: what the unit does when the pod has ended.
func (h *host) stopPost() {
	gc := strings.Join(h.rkt("gc", "--mark-only"), " ")
	h.unitFile("stoppost", "Type=notify\nExecStopPost="+gc+"\n", h.one("exec sleep 1014")...)
	uuid := h.active("stoppost")
	h.stopped("stoppost")
	if got := h.PodDir(uuid); !strings.Contains(got, "/exited-garbage/") {
		h.t.Errorf("after rkt gc --mark-only the pod is in %s", got)
	}
	h.collect()
}

// watchdog: a pod that is well is left alone; one whose systemd hangs is ended,
// and started again.
func (h *host) watchdog() {
	h.unitFile("watched", "Type=notify\nWatchdogSec=12\nRestart=on-watchdog\nRestartSec=0\n", h.one("exec sleep 1015")...)
	uuid := h.active("watched")
	h.runs("sleep", "1015")
	time.Sleep(26 * time.Second)
	if got := h.property("watched", "NRestarts"); got != "0" || h.uuid() != uuid {
		h.t.Fatalf("a pod that is well was restarted %s times: %s", got, h.tool("journalctl", "-n50", "-u", "watched"))
	}
	leader := h.leader(uuid)
	h.tool("kill", "-STOP", leader)
	eventually(h.t, "restarted", func() bool {
		return h.property("watched", "NRestarts") == "1" && h.property("watched", "ActiveState") == "active"
	})
	if h.uuid() == uuid {
		h.t.Error("the same pod")
	}
	h.stopped("watched")
	h.collect()
}

// leader is PID 1 of a pod.
func (h *host) leader(uuid string) string {
	h.t.Helper()
	return strings.TrimSpace(read(h.t, filepath.Join(h.PodDir(uuid), "pid")))
}

// activation: the first connection to a socket unit starts the pod, and is
// answered by the app.
func (h *host) activation() {
	body, err := os.ReadFile(os.Getenv("RKT_ACTIVATED"))
	if err != nil {
		h.t.Fatal(err)
	}
	const port = 7171
	image := h.Fetch(harness.ACI(h.t, harness.Manifest("example.com/activated", "1", map[string]any{
		"exec":  []string{"/bin/activated", "1"},
		"ports": []map[string]any{{"name": "web", "protocol": "tcp", "port": port, "socketActivated": true}},
	}), []harness.Entry{harness.Dir("bin", 0o755), harness.File("bin/activated", 0o755, string(body))}))
	file := "/run/systemd/system/activated.socket"
	write(h.t, file, "[Socket]\nListenStream="+strconv.Itoa(port)+"\n")
	h.t.Cleanup(func() { _ = os.Remove(file) })
	h.unitFile("activated", "", "run", "--port=web:"+strconv.Itoa(port), "--uuid-file-save="+h.dir+"/uuid", image)
	h.tool("systemctl", "start", "activated.socket")
	defer func() { _ = exec.Command("systemctl", "stop", "activated.socket").Run() }()
	for range 2 { // the app ends after one connection; the next one is another pod
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(port), 10*time.Second)
		if err != nil {
			h.t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
		line, err := bufio.NewReader(c).ReadString('\n')
		_ = c.Close()
		if !strings.HasPrefix(line, "hello from the app") {
			h.t.Fatalf("%q, %v: %s", line, err, h.tool("journalctl", "-n50", "-u", "activated"))
		}
		eventually(h.t, "the unit is inactive", func() bool { return h.property("activated", "ActiveState") == "inactive" })
		if got := h.property("activated", "Result"); got != "success" {
			h.t.Errorf("result %s", got)
		}
	}
	h.tool("systemctl", "stop", "activated.socket")
	h.collect()
}

// transient: systemd-run without waiting. The unit is active while the pod runs,
// and gone when it has ended well.
func (h *host) transient() {
	h.unit([]string{"--slice=machine", "--unit=transient"}, h.one("exec sleep 1016")...)
	h.t.Cleanup(func() { _ = exec.Command("systemctl", "stop", "transient").Run() })
	if got := h.property("transient", "ActiveState"); got != "active" {
		h.t.Errorf("state %s", got)
	}
	h.runs("sleep", "1016")
	uuid := h.uuid()
	if got := h.subcgroup(uuid); got != "machine.slice/transient.service/payload" {
		h.t.Errorf("subcgroup %q", got)
	}
	if got := h.property("transient", "ActiveState"); got != "active" {
		h.t.Errorf("state %s", got)
	}
	h.tool("systemctl", "stop", "transient")
	eventually(h.t, "the unit is gone", func() bool { return h.property("transient", "LoadState") == "not-found" })
	h.collect()
}

// powerOff: machinectl ends a pod in order, and kills in it.
func (h *host) powerOff() {
	for _, in := range []string{"session", "unit"} {
		h.t.Run(in, func(t *testing.T) {
			log := t.TempDir()
			args := h.app([]string{"--volume=v,kind=host,source=" + log}, []string{"--mount=volume=v,target=/v"}, "/bin/sh", "-c",
				"trap 'echo stopped >>/v/log; exit 0' TERM; echo ready | tee -a /v/log; while :; do sleep 0.2; done")
			var p *harness.Proc
			uuid := ""
			if in == "session" {
				p = h.start(args...)
				uuid = p.UUID
			} else {
				h.unitFile("poweroff", "Type=notify\n", args...)
				uuid = h.active("poweroff")
			}
			eventually(t, "ready", func() bool { _, err := os.Stat(log + "/log"); return err == nil })
			h.tool("machinectl", "poweroff", "rkt-"+uuid)
			eventually(t, "the pod has exited", func() bool { return h.Status(uuid)["state"] == "exited" })
			if p != nil {
				if r := p.Wait(); r.Status != 0 {
					t.Errorf("%s", r)
				}
			} else {
				eventually(t, "inactive", func() bool { return h.property("poweroff", "ActiveState") == "inactive" })
			}
			if got := read(t, log+"/log"); got != "ready\nstopped" {
				t.Errorf("the app wrote %q", got)
			}
			h.collect()
		})
	}
}

// forced: a stop by force ends what ignores signals, at once.
func (h *host) forced() {
	p := h.start(h.one("trap '' TERM INT HUP; echo ready; while :; do sleep 0.2; done")...)
	start := time.Now()
	h.OK("stop", "--force", p.UUID)
	p.Wait()
	if took := time.Since(start); took > 60*time.Second {
		h.t.Errorf("after %s", took)
	}
	if n := h.populated(p.UUID); n > 0 {
		h.t.Errorf("%d processes are left", n)
	}
	h.collect()
}

// kept: the cgroup of a pod that a session has started is there until gc, where
// rkt makes it; that of a unit goes with the unit.
func (h *host) kept() {
	h.unitFile("kept", "Type=notify\n", h.one("exec sleep 1017")...)
	uuid := h.active("kept")
	h.runs("sleep", "1017")
	group := filepath.Join(mount, h.subcgroup(uuid))
	if _, err := os.Stat(filepath.Join(group, "system.slice/app.service/cgroup.kill")); err != nil {
		h.t.Error(err)
	}
	h.stopped("kept")
	if _, err := os.Stat(group); err == nil {
		h.t.Errorf("%s outlives its unit", group)
	}
	h.collect()
}
