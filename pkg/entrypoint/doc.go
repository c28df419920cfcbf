// SPDX-License-Identifier: Apache-2.0

// Package entrypoint is the contract between stage0 and stage1, in both
// directions: which annotation of a stage1 image names which program, what
// argv and environment stage0 hands it, and how stage1 reads them back.
//
// Words: an entrypoint is a program inside a stage1 image; a crossing
// entrypoint is one that acts inside a running pod (app/add, app/rm,
// app/start, app/stop, attach); the interface version is the number of the
// contract an image follows, 1 when the image does not say.
//
// Invariant: for every interface version v, ParseRun(x.Argv(v)) == x except
// for the fields that v cannot express, and the same for the other
// entrypoints. The zero value of a string field means "not given"; the DNS
// modes and the network list are the exception, they read back as "default".
//
// Nothing else of rkt knows a flag of a stage1 program. Together with package
// poddir this is all that the stages share.
//
//	r := entrypoint.Run{Path: s1 + "/run", Net: "host", UUID: id}
//	argv, warnings := r.Argv(version)
//	// … in stage1:
//	r, err := entrypoint.ParseRun(os.Args)
//
// Source: spec stage1.md 2, 4 and 8.
package entrypoint
