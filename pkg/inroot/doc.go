// SPDX-License-Identifier: Apache-2.0

// Package inroot works on paths inside a directory tree whose content is not
// trusted: the root file system of an app. Every path is taken as the app
// itself would see it after chroot: absolute links start at the root, ".." at
// the root stays there, and links of procfs that are not text ("magic links")
// are refused or read as text.
//
// Words: a Root is an open directory that plays the part of "/". Resolve is
// readlink -m inside it. A target is the place a mount goes to, held by an
// O_PATH descriptor, so that nothing can be swapped between check and use.
//
// Invariants: no function opens, creates or looks at anything that is not
// reached from the Root's descriptor; nothing is created through a symbolic
// link that Resolve has not followed first; what is made on the way has mode
// 0755 whatever the umask.
//
// Needs Linux 5.6 (openat2).
package inroot
