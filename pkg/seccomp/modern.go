// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// modernList is what the default allow list has beyond that of rkt 1.30 (spec
// apps.md 15): calls that are newer than it and give a process no more power
// than the old ones do, the 64-bit time forms of listed calls on 32-bit tables,
// and the signal calls of old 32-bit programs. C libraries take EPERM for an
// answer where they would have tried the old call on ENOSYS.
var modernList = [...]string{
	"cachestat", "clock_getres_time64", "clock_gettime64", "clock_nanosleep_time64", "close_range",
	"epoll_pwait2", "faccessat2", "fchmodat2", "file_getattr", "file_setattr", "futex_requeue", "futex_time64",
	"futex_wait", "futex_waitv", "futex_wake", "getxattrat", "io_pgetevents", "io_pgetevents_time64",
	"landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "listmount", "listxattrat",
	"map_shadow_stack", "membarrier", "memfd_secret", "mq_timedreceive_time64", "mq_timedsend_time64", "mseal",
	"openat2", "pidfd_open", "pidfd_send_signal", "pkey_alloc", "pkey_free", "pkey_mprotect", "ppoll_time64",
	"preadv2", "process_mrelease", "pselect6_time64", "pwritev2", "recvmmsg_time64", "removexattrat", "rseq",
	"rseq_slice_yield", "rt_sigtimedwait_time64", "sched_rr_get_interval_time64", "semtimedop_time64",
	"set_mempolicy_home_node", "setxattrat", "sigaction", "sigpending", "sigprocmask", "sigsuspend", "statmount",
	"statx", "timer_gettime64", "timer_settime64", "timerfd_gettime64", "timerfd_settime64", "uprobe",
	"uretprobe", "utimensat_time64",
}

// defaultList is the default allow list with the additions of an architecture.
func defaultList(extra []string) []string { return slices.Concat(allowList[:], modernList[:], extra) }

// capCalls are the calls that a retained capability adds to the default list:
// those that are refused for want of it anyway, so that blocking them is only
// a second wall. Not here, whatever is retained: key rings, io_uring,
// userfaultfd, kexec, swap.
var capCalls = [...]struct {
	capability int
	calls      []string
}{
	{unix.CAP_BPF, []string{"bpf"}},
	{unix.CAP_DAC_READ_SEARCH, []string{"name_to_handle_at", "open_by_handle_at"}},
	{unix.CAP_PERFMON, []string{"perf_event_open"}},
	{unix.CAP_SYSLOG, []string{"syslog"}},
	{unix.CAP_SYS_ADMIN, []string{
		"bpf", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "listns", "lookup_dcookie",
		"mount", "mount_setattr", "move_mount", "name_to_handle_at", "open_tree", "open_tree_attr",
		"perf_event_open", "pivot_root", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns",
		"umount", "umount2", "unshare",
	}},
	{unix.CAP_SYS_BOOT, []string{"reboot"}},
	{unix.CAP_SYS_CHROOT, []string{"chroot"}},
	{unix.CAP_SYS_MODULE, []string{"delete_module", "finit_module", "init_module"}},
	{unix.CAP_SYS_NICE, []string{
		"get_mempolicy", "mbind", "migrate_pages", "move_pages", "process_madvise", "set_mempolicy",
	}},
	{unix.CAP_SYS_PACCT, []string{"acct"}},
	// Without the capability they reach the processes of the same user, in the
	// other apps of the pod, too.
	{unix.CAP_SYS_PTRACE, []string{
		"kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
	}},
	{unix.CAP_SYS_RAWIO, []string{"ioperm", "iopl"}},
	{unix.CAP_SYS_TIME, []string{
		"adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64", "settimeofday", "stime",
	}},
	{unix.CAP_SYS_TTY_CONFIG, []string{"vhangup"}},
}
