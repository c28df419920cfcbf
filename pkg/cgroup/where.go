// SPDX-License-Identifier: Apache-2.0

package cgroup

import "slices"

// Version is which version of control groups has a controller of the host: 1,
// 2, or 0 if neither has.
func (h *Host) Version(controller string) int {
	switch hi := h.find(controller); {
	case hi == nil:
		return 0
	case hi.v2:
		return 2
	}
	return 1
}

// Layout says how the host has its control groups.
type Layout string

// The layouts.
const (
	Unified Layout = "unified" // every controller is on v2
	Hybrid  Layout = "hybrid"  // controllers on v1, processes are tracked on v2
	Legacy  Layout = "legacy"  // v1 alone
	Nothing Layout = "none"
)

// Layout looks at what the host has mounted.
func (h *Host) Layout() Layout {
	var v1, v2 bool
	for i := range h.hierarchies {
		hi := &h.hierarchies[i]
		v2 = v2 || hi.v2
		v1 = v1 || !hi.v2 && !slices.Contains(hi.controllers, trackV1)
	}
	switch {
	case v1 && v2:
		return Hybrid
	case v1:
		return Legacy
	case v2:
		return Unified
	}
	return Nothing
}
