// SPDX-License-Identifier: Apache-2.0

//go:build vm

package checks

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// TestSystemd: pods on a host whose PID 1 is systemd, with cgroup v2. The
// checks run where other processes are and no limit is, as in a session.
func TestSystemd(t *testing.T) {
	only(t, "systemd")
	h := newHost(t)
	h.check("session", (*host).session)
	h.check("limits", (*host).limits)
	h.check("memory", (*host).memory)
	h.check("stop", (*host).stop)
	h.check("kill", (*host).kill)
	h.check("users", (*host).users)
	h.check("machinectl", (*host).machinectl)
	h.check("service", (*host).service)
	h.check("notify", (*host).notify)
	h.check("restart", (*host).restart)
	h.check("scope", (*host).scope)
	h.check("delegate", (*host).delegate)
	h.check("sandbox", (*host).sandbox)
	h.check("killed", (*host).killedService)
	h.check("simple", (*host).simple)
	h.check("ready", (*host).readyByApp)
	h.check("killmode", (*host).killModes)
	h.check("slice", (*host).slice)
	h.check("settings", (*host).settings)
	h.check("stoppost", (*host).stopPost)
	h.check("watchdog", (*host).watchdog)
	h.check("activation", (*host).activation)
	h.check("transient", (*host).transient)
	h.check("poweroff", (*host).powerOff)
	h.check("journal", (*host).unitJournal)
	h.check("podjournal", (*host).podJournal)
	h.check("forced", (*host).forced)
	h.check("kept", (*host).kept)
	h.check("faults", (*host).faults)
	h.check("network", (*host).network)
	h.check("netservice", (*host).netService)
	h.check("pods", (*host).pods)
}

// tool runs a program of the host that has to succeed.
func (h *host) tool(name string, args ...string) string {
	h.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		h.t.Errorf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// rkt is the command line of rkt on this host.
func (h *host) rkt(args ...string) []string { return h.Cmd(h.t.Context(), args...).Args }

// unit runs rkt in a unit of systemd's, to its end.
func (h *host) unit(flags []string, args ...string) harness.Result {
	h.t.Helper()
	cmd := exec.Command("systemd-run", append(append([]string{"--quiet"}, flags...), h.rkt(args...)...)...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run()
	r := harness.Result{Args: args, Stdout: out.String(), Stderr: errOut.String(), Status: cmd.ProcessState.ExitCode()}
	h.t.Logf("%s", r)
	return r
}

// session: the pod is a scope of systemd's.
func (h *host) session() {
	r := h.Run(h.one("cat /proc/self/cgroup; exit 3")...)
	uuid := h.uuid()
	name := `machine-rkt\x2d` + strings.ReplaceAll(uuid, "-", `\x2d`) + ".scope"
	if got := harness.AppOutput(r.Stdout, "app"); r.Status != 3 || got != "0::/system.slice/app.service\n" {
		h.t.Errorf("%q: %s", got, r)
	}
	if got := h.subcgroup(uuid); got != "machine.slice/"+name {
		h.t.Errorf("subcgroup %q", got)
	}
	h.collect()
	eventually(h.t, "the scope is gone", func() bool {
		return strings.Contains(h.tool("systemctl", "show", "-p", "LoadState", name), "not-found") && len(harness.Cgroups([]string{uuid})) == 0
	})
}

// machinectl: the pod is registered, and can be ended that way.
func (h *host) machinectl() {
	p := h.start(h.one("echo ready; exec sleep 1000")...)
	if got := h.tool("machinectl", "list", "--no-legend"); !strings.Contains(got, "rkt-"+p.UUID) {
		h.t.Errorf("machinectl list: %s", got)
	}
	h.tool("machinectl", "terminate", "rkt-"+p.UUID)
	p.Wait()
	h.collect()
	if got := h.tool("machinectl", "list", "--no-legend"); strings.Contains(got, "rkt-"+p.UUID) {
		h.t.Errorf("machinectl list after the end: %s", got)
	}
}

// service: the pod is in the service's cgroup; what limits the service binds it,
// and apps have limits of their own.
func (h *host) service() {
	r := h.unit([]string{"--wait", "--pipe", "--unit=of-a-test"}, h.one("cat /proc/self/cgroup; exit 3", "--memory=64Mi")...)
	if got := harness.AppOutput(r.Stdout, "app"); r.Status != 3 || got != "0::/system.slice/app.service\n" {
		h.t.Errorf("%q: %s", got, r)
	}
	if got := h.subcgroup(h.uuid()); got != "system.slice/of-a-test.service/payload" {
		h.t.Errorf("subcgroup %q", got)
	}
	_ = exec.Command("systemctl", "reset-failed", "of-a-test").Run()
	for name, tt := range map[string]struct{ unit, app []string }{
		"of the service": {[]string{"-p", "MemoryMax=96M", "-p", "MemorySwapMax=0"}, nil},
		"of the app":     {[]string{"-p", "MemoryMax=400M"}, []string{"--memory=32Mi"}},
	} {
		r := h.unit(append([]string{"--wait", "--pipe", "-p", "Delegate=yes", "--collect"}, tt.unit...), h.app(nil, tt.app, "/bin/dd", eat("256M")...)...)
		if e := h.exit(h.uuid(), "app"); r.Status != 9 || e.Signal != 9 || !e.OOMKilled {
			h.t.Errorf("the limit %s: %+v, %s", name, e, r)
		}
	}
	h.collect()
}

// unitFile writes a unit for a pod and starts it.
func (h *host) unitFile(name, settings string, args ...string) {
	h.t.Helper()
	file := "/run/systemd/system/" + name + ".service"
	var command strings.Builder
	for _, a := range h.rkt(args...) {
		command.WriteString(" " + strconv.Quote(strings.ReplaceAll(strings.ReplaceAll(a, "%", "%%"), "$", "$$")))
	}
	write(h.t, file, "[Service]\nKillMode=mixed\nTimeoutSec=5min\n"+settings+"ExecStart="+command.String()+"\n")
	h.tool("systemctl", "daemon-reload")
	h.t.Cleanup(func() {
		for _, verb := range []string{"kill", "stop", "reset-failed"} {
			_ = exec.Command("systemctl", verb, name).Run()
		}
		_ = os.Remove(file)
	})
}

// property is a property of a unit.
func (h *host) property(unit, name string) string {
	h.t.Helper()
	_, value, _ := strings.Cut(strings.TrimSpace(h.tool("systemctl", "show", "-p", name, unit)), "=")
	return value
}

// notify: a unit of Type=notify is active when the pod is ready, keeps its
// limits, is stopped in order, and can be started again.
func (h *host) notify() {
	h.unitFile("notify", "Type=notify\nMemoryMax=200M\n", h.one("exec sleep 1003", "--memory=48Mi", "--pids-limit=9")...)
	for range 2 {
		h.tool("systemctl", "start", "notify")
		if got := h.property("notify", "ActiveState"); got != "active" {
			h.t.Errorf("state %s", got)
		}
		uuid := h.uuid()
		eventually(h.t, "the app runs", func() bool { return programs("sleep", "1003") == 1 })
		group := filepath.Join(mount, h.subcgroup(uuid))
		if got := read(h.t, filepath.Join(filepath.Dir(group), "memory.max")); got != "209715200" {
			h.t.Errorf("memory.max of the service %q", got)
		}
		h.tool("systemctl", "daemon-reload")
		for file, want := range map[string]string{"memory.max": "50331648", "pids.max": "9"} {
			if got := read(h.t, filepath.Join(group, "system.slice/app.service", file)); got != want {
				h.t.Errorf("%s of the app is %q", file, got)
			}
		}
		if got := h.OK("enter", uuid, "/bin/cat", "/proc/self/cgroup"); got != "0::/system.slice/app.service\n" {
			h.t.Errorf("enter: %q", got)
		}
		h.tool("systemctl", "stop", "notify")
		if state, result := h.property("notify", "ActiveState"), h.property("notify", "Result"); state != "inactive" || result != "success" {
			h.t.Errorf("after the stop: %s, %s: %s", state, result, h.tool("systemctl", "status", "-n50", "notify"))
		}
		if e := h.exit(uuid, "app"); e.Signal != int(syscall.SIGTERM) {
			h.t.Errorf("%+v", e)
		}
		h.collect()
	}
}

// restart: systemd starts a failed pod again in the same unit.
func (h *host) restart() {
	volume := h.t.TempDir()
	h.unitFile("restart", "Restart=on-failure\nRestartSec=0\n", h.app([]string{"--volume=v,kind=host,source=" + volume}, []string{"--mount=volume=v,target=/v", "--memory=32Mi"}, "/bin/sh", "-c",
		"echo start >>/v/starts; test $(wc -l </v/starts) -ge 3")...)
	h.tool("systemctl", "start", "restart")
	eventually(h.t, "started three times", func() bool {
		b, err := os.ReadFile(volume + "/starts")
		return err == nil && strings.Count(string(b), "start") == 3 && h.property("restart", "ActiveState") == "inactive"
	})
	if got := h.property("restart", "Result"); got != "success" {
		h.t.Errorf("result %s", got)
	}
	h.collect()
}

// scope: a scope with a limit of its own is not left.
func (h *host) scope() {
	r := h.unit([]string{"--scope", "-p", "Delegate=yes", "-p", "MemoryMax=96M", "-p", "MemorySwapMax=0", "--collect", "--unit=limited"}, h.app(nil, nil, "/bin/dd", eat("256M")...)...)
	if e := h.exit(h.uuid(), "app"); r.Status != 9 || !e.OOMKilled {
		h.t.Errorf("256 MiB in a scope of 96: %+v, %s", e, r)
	}
	if got := h.subcgroup(h.uuid()); !strings.HasPrefix(got, `system.slice/limited.scope/machine-rkt\x2d`) {
		h.t.Errorf("subcgroup %q", got)
	}
	h.collect()
}

// delegate: a service has the controllers that systemd gives it.
func (h *host) delegate() {
	args := h.app(nil, []string{"--io-weight=50"}, "/bin/true")
	if r := h.unit([]string{"--wait", "--pipe", "--collect"}, args...); r.Status != 254 || !strings.Contains(r.Stderr, "Delegate=yes") {
		h.t.Errorf("a limit whose controller the unit has not got: %s", r)
	}
	if r := h.unit([]string{"--wait", "--pipe", "--collect", "-p", "Delegate=yes"}, args...); r.Status != 0 {
		h.t.Errorf("%s", r)
	}
	h.collect()
}

// sandbox: apps that come and go in a pod that is a service.
func (h *host) sandbox() {
	h.unitFile("sandbox", "Type=notify\n", "app", "sandbox", "--net=none", "--uuid-file-save="+h.dir+"/uuid")
	h.tool("systemctl", "start", "sandbox")
	uuid := h.uuid()
	h.OK("app", "add", uuid, h.image, "--name=sleeper", "--memory=24Mi", "--exec=/bin/sleep", "--", "1004")
	h.OK("app", "start", uuid, "--app=sleeper")
	if got := read(h.t, filepath.Join(mount, h.subcgroup(uuid), "system.slice/sleeper.service/memory.max")); got != "25165824" {
		h.t.Errorf("memory.max %q", got)
	}
	h.OK("app", "stop", uuid, "--app=sleeper")
	h.OK("app", "rm", uuid, "--app=sleeper")
	h.tool("systemctl", "stop", "sandbox")
	h.collect()
}

// killedService: nothing outlives the main process of a service, nor a pod that
// is stopped by force.
func (h *host) killedService() {
	for _, how := range [][]string{{"systemctl", "kill", "--signal=KILL", "--kill-whom=main", "killed"}, append(h.rkt("stop", "--force"), "")} {
		h.unitFile("killed", "Type=notify\n", h.one("exec sleep 1005")...)
		h.tool("systemctl", "start", "killed")
		eventually(h.t, "the app runs", func() bool { return programs("sleep", "1005") == 1 })
		if how[len(how)-1] == "" {
			how[len(how)-1] = h.uuid()
		}
		h.tool(how[0], how[1:]...)
		eventually(h.t, "the app is gone", func() bool { return programs("sleep", "1005") == 0 })
		eventually(h.t, "the pod has exited", func() bool { return h.Status(h.uuid())["state"] == "exited" })
		h.collect()
	}
}
