// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of acbuild.
//
// # Words
//
// A build is what lies in the context directory .acbuild below the working
// path: the image being made, as a manifest and a root file system. A scratch
// file is one that is in the image only while a command of it runs.
//
// # Invariants
//
// One command at a time works on a build: it holds the flock of .acbuild/lock,
// and whoever holds that may remove what a killed command left. A build without
// currentaci/manifest was never begun completely and counts as none.
//
// Everything in the root file system goes through package inroot: no link of
// the image leads out of it. Mounts are made in a mount namespace of the
// running acbuild, so that none stays however it ends; scratch files are written
// down in .acbuild/scratch before they are made.
//
// # Exit statuses
//
//	0  success
//	1  failure, wrong arguments, no build
//	2  the element to remove does not exist
//	3  unknown command or flag
//	N  run --engine=chroot: the status of the command
package cli
