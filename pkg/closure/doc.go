// SPDX-License-Identifier: Apache-2.0

// Package closure finds the shared libraries that dynamically linked programs
// need, by the rules of the dynamic linker, but only in the directories that
// belong to the distribution: neither the configuration of the linker nor the
// environment, which differ from machine to machine, have a say.
//
// Words: the interpreter is the dynamic linker that a program names; a soname
// is the name under which a library is asked for.
//
// Besides what a file needs to start (DT_NEEDED), systemd 256 and later name
// the libraries they open later in a note; of those the caller says which
// count.
package closure
