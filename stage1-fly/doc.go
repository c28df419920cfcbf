// SPDX-License-Identifier: Apache-2.0

// Command stage1-fly is the stage1 that runs one app with nothing but a
// chroot: no namespaces of its own but the mount one, no supervisor, no
// process between the caller of rkt and the app.
//
// One static program under four names, the entrypoints of the image: run,
// enter, gc and stop (package entrypoint). It is on the way of every start, so
// it keeps few imports and does nothing that was not asked for.
//
// Everything a pod needs later is in the pod directory: the files of the
// contract (package poddir) and app-profile.json, which only root may read:
// what the app was held to, for enter to hold its command to the same.
//
// Source: spec stage1-flavors.md B and E.2, stage1.md 4 to 8 and 11.
package main
