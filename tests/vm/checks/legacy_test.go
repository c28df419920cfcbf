// SPDX-License-Identifier: Apache-2.0

//go:build vm

package checks

import (
	"strings"
	"testing"
)

// TestLegacy: pods on a host with cgroup v1 alone: several hierarchies with
// controllers, one called name=systemd, none of v2.
func TestLegacy(t *testing.T) {
	only(t, "legacy")
	h := newHost(t)
	h.check("start", (*host).start2)
	h.check("limits", (*host).limits)
	h.check("memory", (*host).memory)
	h.check("tight", (*host).tight)
	h.check("pids", (*host).pids)
	h.check("devices", (*host).devices)
	h.check("stop", (*host).stop)
	h.check("kill", (*host).kill)
	h.check("users", (*host).users)
	h.check("mutable", (*host).mutable)
	h.check("inside", (*host).insideLegacy)
	h.check("network", (*host).network)
	h.check("fly", (*host).fly)
}

// insideLegacy: the limit of the cgroup that rkt was started in binds the pod.
func (h *host) insideLegacy() {
	group := makeGroup(h.t, mount+"/memory/service")
	write(h.t, group+"/memory.limit_in_bytes", "100663296") // 96 MiB
	r := h.runIn(group, h.app(nil, nil, "/bin/dd", eat("256M")...)...)
	if r.Status != 9 {
		h.t.Errorf("256 MiB in a cgroup of 96: %s", r)
	}
	if got := h.subcgroup(h.uuid()); !strings.HasPrefix(got, `machine-rkt\x2d`) {
		h.t.Errorf("subcgroup %q", got)
	}
	h.collect()
}
