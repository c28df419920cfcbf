// SPDX-License-Identifier: Apache-2.0

// Package appmount decides which volumes an app gets where, as a list that a
// flavor carries out in order.
//
// Words: a volume is the pod's side (a host path or an empty directory), a
// mount point is declared by the image, a mount pairs a volume with a target.
// An implicit volume is an empty one that nobody defined, made for a mount
// point without volume.
//
// It is pure: it looks at no file. Targets are passed on as they were written,
// because ".." behind a link means something else than ".." in a string;
// whoever mounts resolves them inside the app's root.
//
// Source: spec apps.md 6.
package appmount
