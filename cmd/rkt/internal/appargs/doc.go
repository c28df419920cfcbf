// SPDX-License-Identifier: Apache-2.0

// Package appargs parses the arguments of commands that take images:
//
//	args      := { flag | image-group | "---" }
//	image-group := IMAGE { per-app flag | global flag } [ "--" app-arg... [ "---" ] ]
//
// A per-app flag belongs to the nearest image before it. Everything between
// "--" and "---" goes to the app verbatim, empty words too.
//
// Beside the grammar, the package has the value syntaxes of the flags of such
// commands (networks, ports, DNS, environment). It is pure: it opens nothing
// and prints nothing (pflag prints its own notes on deprecated flags to the
// flag set's output).
//
//	var p appargs.Parser
//	p.Bind(flags)                       // per-app flags
//	err := p.Parse(flags, os.Args[2:])  // flags may hold more: global ones
//	for _, app := range p.Apps { … }
//
// Source: spec cli.md 4 and 5, apps.md 1.1.
package appargs
