// SPDX-License-Identifier: Apache-2.0

// Package podplan decides, from the manifests of a pod and the options of its
// start alone, what every app of it gets: program, environment, mounts, masks,
// capabilities, filter, limits, streams, handlers. It opens nothing and asks
// the host nothing, so the answer is the same for whoever asks: a flavor that
// starts the pod, and "rkt explain", which only prints it.
//
// Words: a plan is what is to be applied; the origin of a setting is who asked
// for it. What depends on the files of the app (its user's number, where its
// program lies) is not decided here; a flavor resolves it in the app's root.
//
// Source: spec apps.md 1, 3, 7 to 10, 12, 13.
package podplan
