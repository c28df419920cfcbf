// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestArgumentRules(t *testing.T) {
	names := func(p Policy) (all []string) {
		for _, r := range p.ArgumentRules() {
			all = append(all, r.Call)
			if r.Errno == 0 || (r.Call == "clone3") != (r.Refuse == "") {
				t.Errorf("%+v", r)
			}
		}
		return all
	}
	if got := names(Default(0)); !slices.Contains(got, "clone") || !slices.Contains(got, "clone3") || !slices.Contains(got, "socket") {
		t.Errorf("default: %v", got)
	}
	if got := names(Default(1 << unix.CAP_SYS_ADMIN)); slices.Contains(got, "clone") || !slices.Contains(got, "ioctl") {
		t.Errorf("with CAP_SYS_ADMIN: %v", got)
	}
	p := Default(0)
	p.Calls = without(p.Calls, "ioctl")
	if got := names(p); slices.Contains(got, "ioctl") {
		t.Errorf("a call that is not allowed at all has a rule: %v", got)
	}
	if got := names(Policy{Unfiltered: true, Guarded: []string{"clone"}}); got != nil {
		t.Errorf("unfiltered: %v", got)
	}
}
