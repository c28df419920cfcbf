// SPDX-License-Identifier: Apache-2.0

// Package appenv composes the environment of an app.
//
// Two steps, at two times: Merge, when a pod is prepared, joins what image and
// command line say into the environment of the runtime app; Compose, when
// stage1 starts the app, adds defaults and the variables that only a running
// pod has. Both are pure.
//
// Invariants: each name occurs once; order is that of first appearance; values
// pass through untouched, whatever bytes they hold. The file of File is for
// people and for the contract; a program that needs exact values takes the
// list, because a line break in a value cannot be told from the next variable.
//
// Source: spec apps.md 2 and 15, cli.md 5.5.
package appenv
