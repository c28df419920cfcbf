// SPDX-License-Identifier: Apache-2.0

// Package manifest makes pod manifests: from apps and their image manifests
// (Generate), and checks those that a user wrote (Check). It is pure: nothing
// is read or written, so the whole of it is covered by table and golden tests.
//
// Source: spec pods.md 10, cli.md 4 and 5, apps.md 1.1 and 2.1.
package manifest
