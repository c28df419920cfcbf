// SPDX-License-Identifier: Apache-2.0

//go:build vm

package checks

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	podsDir   = "/etc/rkt/pods.d"
	generator = "/run/systemd/system-generators/rkt-generator"
)

// pods: declarations become services that start, stop, take drop-ins, and fail
// loudly when they are wrong.
func (h *host) pods() {
	exe, err := filepath.Abs(h.Bin)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, dir := range []string{podsDir + "/good.pod.d", filepath.Dir(generator)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := os.Symlink(exe, generator); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		for _, name := range []string{"good", "bad"} {
			_ = exec.Command("systemctl", "stop", name).Run()
			_ = exec.Command("systemctl", "reset-failed", name).Run()
		}
		for _, path := range []string{generator, podsDir} {
			if err := os.RemoveAll(path); err != nil {
				h.t.Error(err)
			}
		}
		h.tool("systemctl", "daemon-reload")
	})
	write(h.t, podsDir+"/good.pod", "[Pod]\nNet=none\nDir="+h.Dir+"\nInsecureOptions=image\nStage1="+h.Stage1+"\n"+
		"[App app]\nImage="+h.image+"\nExec=/bin/sh\nArgs=-c \"echo $A of %p; exec sleep 1010\"\nEnvironment=A=said-$\n[Install]\nWantedBy=multi-user.target\n")
	write(h.t, podsDir+"/bad.pod", "[App app]\nImage=x\nMemroy=1G\n[Install]\nWantedBy=multi-user.target\n")
	h.tool("systemctl", "daemon-reload")
	h.goodPod()
	h.dropIn()
	h.badPod()
	h.collect()
}

func (h *host) goodPod() {
	if got := h.tool("systemctl", "is-enabled", "good"); !strings.Contains(got, "generated") {
		h.t.Errorf("is-enabled: %s", got)
	}
	h.tool("systemctl", "start", "good")
	if got := h.property("good", "ActiveState"); got != "active" {
		h.t.Errorf("state %s: %s", got, h.tool("journalctl", "-u", "good"))
	}
	eventually(h.t, "the app runs", func() bool { return programs("sleep", "1010") == 1 })
	uuid := read(h.t, "/run/rkt-pod/good/uuid")
	if got := h.subcgroup(uuid); got != "machine.slice/good.service/payload" {
		h.t.Errorf("subcgroup %q", got)
	}
	eventually(h.t, "the journal has what the app said", func() bool {
		return strings.Contains(h.tool("journalctl", "-t", "good"), "said-$ of good")
	})
}

// dropIn: what a drop-in changes counts from the next start.
func (h *host) dropIn() {
	write(h.t, podsDir+"/good.pod.d/10-memory.conf", "[App app]\nMemory=48Mi\n")
	h.tool("systemctl", "daemon-reload")
	before := read(h.t, "/run/rkt-pod/good/uuid")
	h.tool("systemctl", "restart", "good")
	after := read(h.t, "/run/rkt-pod/good/uuid")
	if before == after {
		h.t.Error("the same pod after a restart")
	}
	eventually(h.t, "the app runs", func() bool { return programs("sleep", "1010") == 1 })
	if got := h.control(after, "app", memoryMax()); got != "50331648" {
		h.t.Errorf("memory limit %q", got)
	}
	h.tool("systemctl", "stop", "good")
	if state, result := h.property("good", "ActiveState"), h.property("good", "Result"); state != "inactive" || result != "success" {
		h.t.Errorf("after the stop: %s, %s", state, result)
	}
	eventually(h.t, "the app is gone", func() bool { return programs("sleep", "1010") == 0 })
	if _, err := os.Stat("/run/rkt-pod/good"); err == nil {
		h.t.Error("the service's directory is left")
	}
	if got := h.Status(after)["state"]; !strings.Contains(got, "exited") {
		h.t.Errorf("the pod is %q after the stop", got)
	}
}

// badPod: the start fails, with the reason in the journal of the unit and of
// the generator.
func (h *host) badPod() {
	if err := exec.Command("systemctl", "start", "bad").Run(); err == nil {
		h.t.Error("a wrong declaration was started")
	}
	if got := h.property("bad", "ActiveState"); got != "failed" {
		h.t.Errorf("state %s", got)
	}
	const reason = "bad.pod:3:1: there is no Memroy= in [App]; did you mean Memory=?"
	eventually(h.t, "the journal has the reason", func() bool {
		return strings.Contains(h.tool("journalctl", "-u", "bad"), reason) && strings.Contains(h.tool("journalctl", "-k"), "rkt-generator: "+podsDir+"/"+reason)
	})
}
