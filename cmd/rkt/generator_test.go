// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
)

// TestArguments: under the name that systemd runs, rkt is the generator.
func TestArguments(t *testing.T) {
	for _, tt := range []struct{ argv, want []string }{
		{[]string{"/usr/bin/rkt", "run", "x"}, []string{"run", "x"}},
		{[]string{"/usr/lib/systemd/system-generators/rkt-generator", "/run/a", "/run/b", "/run/c"}, []string{"systemd-generator", "/run/a", "/run/b", "/run/c"}},
	} {
		if got := arguments(tt.argv); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q", tt.argv, got)
		}
	}
}
