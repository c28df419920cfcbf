// SPDX-License-Identifier: Apache-2.0

// Package firewall puts the rules that the networks of pods need into the
// network namespace of the calling thread: masquerading and forwarded ports.
//
// Words: a masquerade hides one address of a pod behind the host's for
// everything outside the pod's subnet. A forward leads a port of the host to a
// port of a pod. An ID names the pod whose rules they are; it is written in
// the comments of the rules, and nothing else remembers it.
//
// There are two backends. One speaks netlink to nf_tables and keeps everything
// in the table "inet rkt", without any program of the host. The other, for
// kernels without nf_tables, feeds iptables-restore and ip6tables-restore.
// Both work from the same rules as data (rule, nftPlan, xtPlan).
//
// Invariants: an Add is one transaction per backend and family. What is there
// already is left alone, so adding twice is adding once. All that removing,
// listing and checking go by is in the kernel, so rules flushed by somebody
// else are missed by Missing and put back by Add. Different IDs may be added
// and removed at once by any number of processes; calls for one ID are for one
// caller at a time (who holds the pod's lock). Base chains stay behind, empty.
//
// Lock: the iptables backend holds /run/rkt/firewall.lock while it compares
// and changes. The nf_tables backend takes none: a transaction whose view of
// the table was outdated fails as a whole and is made anew.
//
//	b, err := firewall.Open()
//	err = b.Add(firewall.Pod{ID: uuid, Masquerades: []firewall.Masquerade{
//		{Network: "default", Addr: netip.MustParsePrefix("172.16.28.2/24")},
//	}})
//	err = b.Remove(uuid)
package firewall
