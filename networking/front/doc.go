// SPDX-License-Identifier: Apache-2.0

// Package front stands between rkt and the CNI plugins that stage1 ships, which
// are those of containernetworking/plugins, unmodified. It gives a plugin the
// configuration as that plugin wants it, executes it, and words its errors as
// rkt 1.30 did; masquerading it takes away from ptp and bridge and asks a
// [Masquerader] for it. flannel, which upstream does not have, is all here.
//
// It is used in two ways by the same code. rkt's network program hands an [Exec]
// to libcni, so that only the upstream program is executed. For everybody else
// (a user's wrapper that finds plugins by CNI_PATH) the shipped names are
// programs that end in [Main]. Plugins that are not shipped are executed
// with exactly the bytes and the environment given.
package front
