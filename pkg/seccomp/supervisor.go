// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/caps"
)

// supervisorList is what nspawn 252 allows every payload beyond our default
// list: what it and systemd need to build a container, and old forms of calls
// that are allowed anyway. nspawn allows io_uring and userfaultfd, too; nothing
// in a pod needs them, so they come with extra only.
var supervisorList = [...]string{
	"clone3", "fsconfig", "fsmount", "fsopen", "fspick", "get_mempolicy", "kcmp", "mbind", "migrate_pages",
	"mount", "mount_setattr", "move_mount", "move_pages", "name_to_handle_at", "nice", "oldfstat", "oldlstat",
	"oldolduname", "oldstat", "olduname", "open_tree", "pivot_root", "process_madvise", "process_vm_readv",
	"process_vm_writev", "readdir", "set_mempolicy", "setdomainname", "sethostname", "setns", "signal", "umount",
	"umount2", "unshare",
}

// supervisorCaps are the calls that nspawn 252 adds for a capability. CAP_IPC_LOCK
// and CAP_SYSLOG are not here: their calls are in our default list.
var supervisorCaps = [...]struct {
	capability int
	calls      []string
}{
	{unix.CAP_SYS_BOOT, []string{"reboot"}},
	{unix.CAP_SYS_MODULE, []string{"delete_module", "finit_module", "init_module"}},
	{unix.CAP_SYS_PACCT, []string{"acct"}},
	{unix.CAP_SYS_PTRACE, []string{"ptrace"}},
	{unix.CAP_SYS_RAWIO, []string{"ioperm", "iopl"}},
	{unix.CAP_SYS_TIME, []string{
		"adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64", "settimeofday",
	}},
	{unix.CAP_SYS_TTY_CONFIG, []string{"vhangup"}},
}

// noAudit refuses the kernel's audit socket: the audit system is the host's,
// and programs take its absence for "no audit here".
var noAudit = rule{
	call:   "socket",
	refuse: []condition{{values: []uint32{unix.AF_NETLINK}}, {arg: 2, values: []uint32{unix.NETLINK_AUDIT}}},
	errno:  unix.EAFNOSUPPORT,
}

// Supervisor makes the filter that a pod under systemd-nspawn runs with when
// nspawn itself is started with SYSTEMD_SECCOMP=0: what nspawn 252 would allow
// a payload that keeps these capabilities; what the default list has, since the
// filter of an app can only take away from this one; and the calls named in
// extra, such as what Policy.Allowed gives for an app with a list of its own.
// Other calls fail with EPERM, unknown ones with ENOSYS.
//
// It is loaded just before nspawn is executed, so that nspawn, the pod's
// systemd and every app are under it. nspawn then cannot give the pod a key
// ring of its own any more; the caller joins a new session key ring before it
// loads the filter, or the pod has the caller's.
func Supervisor(kept caps.Set, extra []string) (Program, error) {
	for _, name := range extra {
		if !isKnown(name) {
			return nil, fmt.Errorf("%w %q", ErrUnknownCall, name)
		}
	}
	calls := slices.Concat(Default(0).Calls, needed[:], supervisorList[:], extra)
	for _, c := range supervisorCaps {
		if kept.Has(c.capability) {
			calls = append(calls, c.calls...)
		}
	}
	calls = sorted(calls)
	d := decider{unnamed: deny(unix.ENOSYS), foreign: deny(unix.ENOSYS), named: func(name string) answer {
		if _, ok := slices.BinarySearch(calls, name); !ok {
			return answer{action: deny(unix.EPERM)}
		}
		if name == noAudit.call {
			return noAudit.on(answer{action: retAllow})
		}
		return answer{action: retAllow}
	}}
	return d.compile()
}
