// SPDX-License-Identifier: Apache-2.0

// Package fly holds the four entrypoints of stage1-fly. Main picks one by the
// name the program was called with.
//
// The working directory is the pod directory throughout; all its files are
// named relative to it, because stage0 renames it during its life.
//
// run: load decides (what the pod says, as plain data, and every refusal),
// then the mounts, the limits, the files for later commands, the pre-start
// handler, and execve. Nothing is started before everything is known to be
// supported: a setting that a chroot cannot honour ends the run with a message
// that names it.
package fly
