// SPDX-License-Identifier: Apache-2.0

// Package approot builds the file system an app sees, by descriptors only: a
// source is cloned with open_tree, made read-only if asked, and put with
// move_mount onto a target that package inroot holds open. No path inside the
// app's root is ever given to mount(2).
//
// It works in a mount namespace that is not the host's: Isolate comes first,
// always. Mounts are slaves of the host's: what the host mounts
// later below a shared source appears, what the app mounts stays.
//
// Needs Linux 5.12 (mount_setattr).
package approot
