// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Isolators that flags set.
const (
	memory        = "resource/memory"
	cpu           = "resource/cpu"
	pids          = "resource/pids"
	rlimits       = "os/unix/rlimits"
	capsRetain    = "os/linux/capabilities-retain-set"
	capsRemove    = "os/linux/capabilities-remove-set"
	capsRevoke    = "os/linux/capabilities-revoke-set" // old name of capsRemove
	seccompRetain = "os/linux/seccomp-retain-set"
	seccompRemove = "os/linux/seccomp-remove-set"
)

// MergeIsolators applies isolators from flags to those of an image: memory,
// cpu and pids are appended (the last one counts), so are resource limits (the
// last one of a resource counts), a capability or seccomp set
// drops all of its kind, and anything else replaces its namesake.
func MergeIsolators(image, flags []appc.Isolator) appc.Isolators {
	out := slices.Clone(image)
	for _, f := range flags {
		if dropped := replaces(string(f.Name)); dropped != nil {
			out = slices.DeleteFunc(out, func(i appc.Isolator) bool {
				return slices.Contains(dropped, string(i.Name))
			})
		}
		out = append(out, f)
	}
	return out
}

// replaces lists the isolators that one from a flag takes the place of.
func replaces(name string) []string {
	switch name {
	case memory, cpu, pids, rlimits:
		return nil
	case capsRetain, capsRemove, capsRevoke:
		return []string{capsRetain, capsRemove, capsRevoke}
	case seccompRetain, seccompRemove:
		return []string{seccompRetain, seccompRemove}
	}
	return []string{name}
}
