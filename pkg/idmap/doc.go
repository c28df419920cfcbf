// SPDX-License-Identifier: Apache-2.0

// Package idmap shows files to a pod with a user namespace under the owners
// that it expects, without changing them on disk: by idmapped mounts
// (mount_setattr(2), Linux 5.12), and by doing what the host does in such
// mounts as the pod's root.
//
// Words: a range is count host IDs from shift up; the pod's user namespace
// maps its IDs 0 to count-1 to them. In an idmapped mount a file that belongs
// to ID n on disk is seen, on the host, as belonging to shift+n, which the
// pod sees as n again. An ID of count or above is nobody's: such a file can be
// looked at, but not be changed or given an owner.
//
// The other way round, a process whose file system IDs are outside of the range
// cannot make a file in such a mount (EOVERFLOW). The host's root is outside:
// see WithRoot.
//
//	ns, err := idmap.NewUserNS(shift, 65536)
//	tree := … open_tree(2) with OPEN_TREE_CLONE …
//	err = idmap.MountWith(tree, ns) // then move_mount(2)
package idmap
