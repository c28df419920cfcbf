// SPDX-License-Identifier: Apache-2.0

// Package packaging tests the Debian package as an administrator meets it:
// installed, upgraded under a running pod, removed and purged in a minimal
// Debian of its own, in mount, PID and network namespaces of its own. The tests
// are behind the build tag "packaging"; "make packaging" builds the package,
// names it in RKT_DEB, and runs them as root.
package packaging
