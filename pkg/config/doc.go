// SPDX-License-Identifier: Apache-2.0

// Package config reads rkt's configuration directories.
//
// A level is one of the three directories (system, local, user). Each level
// has kind directories (auth.d, paths.d, stage1.d); each file *.json in them
// is one JSON object with a kind and a version. Levels are merged in the
// order system, local, user: a later level overrides an earlier one item by
// item, never file by file. Within a level an item may be given once.
//
// Load reads only the kinds it is asked for, so that a command does not fail
// because of a file it has no use for. Either everything it was asked for is
// valid or the result is an error that names every broken file.
//
//	c, err := config.Load(config.Dirs{System: "/usr/lib/rkt", Local: "/etc/rkt"}, config.KindPaths)
//	...
//	dir := c.Paths.Data
//
// Nothing here logs: what a person should know (unknown fields, readable
// secrets) is in Config.Warnings, and the caller decides.
//
// Source: spec config.md 1 to 5.
package config
