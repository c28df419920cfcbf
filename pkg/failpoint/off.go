// SPDX-License-Identifier: Apache-2.0

//go:build !failpoint

package failpoint

// Enabled tells whether this binary was built with failpoints.
const Enabled = false

// Hit does nothing in this build.
func Hit(string) error { return nil }

// Environ is empty in this build.
func Environ() []string { return nil }
