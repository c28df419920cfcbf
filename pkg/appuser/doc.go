// SPDX-License-Identifier: Apache-2.0

// Package appuser decides which user, group and supplementary groups an app
// runs with, from its manifest and the passwd and group files of its own root.
//
// Invariants: a number that is out of range or cannot be parsed is an error,
// never a name and never 0; a malformed line of passwd or group is no match
// for anything; membership lists in the group file are not consulted. Files
// are read through package inroot, at most MaxFile bytes.
//
//	ids, err := appuser.Resolve(root, appuser.Request{User: app.User, Group: app.Group})
//
// Source: spec apps.md 7 and 15; design "Always and never".
package appuser
