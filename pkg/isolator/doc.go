// SPDX-License-Identifier: Apache-2.0

// Package isolator turns the isolators of manifests into one Plan of plain
// data, which each stage1 flavor applies in its own way, and makes isolators
// from command line flags.
//
// Words: an isolator is a named limit or security setting in a manifest; its
// origin is the image that carries it or the user, who gave a flag or wrote a
// pod manifest. A flavor needs the origin where the host lacks a resource
// controller: an image's own limit is then skipped with one warning line, a
// user's is an error.
//
// A pod manifest does not record origins: an isolator of the runtime app that
// the image has too, name and value, is the image's (Mark).
//
// Invariants: a Plan holds validated values only; a name this package does not
// know, and a known one that no flavor enforces yet, is in Plan.Other and never
// dropped. Capability names, system call names and wildcards that do not exist
// are errors.
//
//	plan, err := isolator.Parse(isolator.Mark(app.App.Isolators, image.App.Isolators))
//
// Source: spec apps.md 8 to 10 and 15, cli.md 5.6, images.md 10.4.
package isolator
