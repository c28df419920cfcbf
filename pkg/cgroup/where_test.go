// SPDX-License-Identifier: Apache-2.0

package cgroup

import "testing"

func TestWhere(t *testing.T) {
	const memory = "33 31 0:32 / /c/memory rw - cgroup cgroup rw,memory\n"
	const track = "35 31 0:37 / /c/systemd rw - cgroup cgroup rw,name=systemd\n"
	const v2 = "41 31 0:38 / /c/unified rw - cgroup2 cgroup2 rw\n"
	const own = "9:name=systemd:/\n4:memory:/\n0::/\n"
	m := &model{mount: "/c/unified", procs: map[string][]string{"/c/unified": nil}}
	for _, tt := range []struct {
		name, mounts, own string
		layout            Layout
		memory, rdma      int
	}{
		{"none", "", "", Nothing, 0, 0},
		{"v1 alone", memory + track, own, Legacy, 1, 0},
		{"v1 and an empty v2", memory + track + v2, own, Hybrid, 1, 0},
		{"v2", v2, "0::/\n", Unified, 2, 0},
		{"v2 and name=systemd", track + v2, "9:name=systemd:/\n0::/\n", Unified, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := detect(proc(t, tt.mounts, tt.own), m)
			if err != nil {
				t.Fatal(err)
			}
			for i := range h.hierarchies {
				if hi := &h.hierarchies[i]; hi.v2 && tt.layout == Unified {
					hi.controllers = []string{Memory}
				}
			}
			if got := h.Layout(); got != tt.layout {
				t.Errorf("layout %s, want %s", got, tt.layout)
			}
			if got := h.Version(Memory); got != tt.memory {
				t.Errorf("memory is on version %d, want %d", got, tt.memory)
			}
			if got := h.Version("rdma"); got != tt.rdma {
				t.Errorf("rdma is on version %d, want %d", got, tt.rdma)
			}
		})
	}
}
