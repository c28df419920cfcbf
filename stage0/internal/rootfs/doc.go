// SPDX-License-Identifier: Apache-2.0

// Package rootfs places rendered trees in a pod directory: as overlay mounts
// (in the mount namespace of the calling thread) or as the directories into
// which trees are copied, and makes the few entries stage0 adds to them.
//
// Words: stage1's root file system is <pod>/stage1/rootfs; an app's is below
// it, in opt/stage2/<app>/rootfs. What a pod writes into overlays lies in
// <pod>/overlay/<tree ID>/upper, or …/upper/<app> for an app.
//
// Invariant: nothing is created through a symbolic link of an image; a link
// that leads out of a tree is an error.
package rootfs
