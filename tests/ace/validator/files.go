// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/tests/ace/expect"
)

// apiChecks are what OS-SPEC.md says every Linux app finds.
func apiChecks() []check {
	checks := []check{
		{"fs.proc", func() error { return fileSystem("/proc", unix.PROC_SUPER_MAGIC) }},
		{"fs.proc-of-this-pod", func() error {
			to, err := os.Readlink("/proc/self")
			if err != nil {
				return err
			}
			return same(to, fmt.Sprint(os.Getpid()))
		}},
		{"fs.proc-sys-read-only", func() error { return closedForWriting("/proc/sys/kernel/core_pattern", "/proc/sys/vm/panic_on_oom") }},
		{"fs.proc-masks", func() error {
			return first(closedForWriting("/proc/sysrq-trigger", "/proc/bus/pci/devices"), empty("/proc/kcore", "/proc/kallsyms", "/proc/config.gz"))
		}},
		{"fs.sys", func() error { return fileSystem("/sys", unix.SYSFS_MAGIC) }},
		{"fs.sys-read-only", func() error { return readOnlyMount("/sys") }},
		{"fs.sys-masks", func() error { return empty("/sys/firmware", "/sys/power", "/sys/module") }},
		{"fs.dev-shm", func() error {
			return first(fileSystem("/dev/shm", unix.TMPFS_MAGIC), mode("/dev/shm", fs.ModeDir|fs.ModeSticky|0o777), writable("/dev/shm"))
		}},
		{"fs.dev-pts", func() error { return fileSystem("/dev/pts", 0x1cd1) }}, // DEVPTS_SUPER_MAGIC
		{"fs.dev-ptmx", pseudoterminal},
	}
	for _, d := range []struct {
		name         string
		major, minor uint32
		mode         fs.FileMode
	}{
		{"null", 1, 3, 0o666},
		{"zero", 1, 5, 0o666},
		{"full", 1, 7, 0o666},
		{"random", 1, 8, 0o666},
		{"urandom", 1, 9, 0o666},
		{"tty", 5, 0, 0o666},
	} {
		checks = append(checks, check{"fs.dev-" + d.name, func() error {
			return first(device("/dev/"+d.name, d.major, d.minor), mode("/dev/"+d.name, fs.ModeDevice|fs.ModeCharDevice|d.mode))
		}})
	}
	return append(checks,
		check{"fs.dev-console", func() error { return characterDevice("/dev/console") }},
		check{"fs.dev-works", devicesWork},
	)
}

func fileSystem(path string, magic int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if st.Type != magic {
		return fmt.Errorf("%s is a file system of type %#x, want %#x", path, st.Type, magic)
	}
	return nil
}

func readOnlyMount(path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if st.Flags&unix.ST_RDONLY == 0 {
		return fmt.Errorf("%s is mounted read-write", path)
	}
	return nil
}

// closedForWriting: each path cannot be opened for writing; one that does not
// exist is as good.
func closedForWriting(paths ...string) error {
	for _, p := range paths {
		fd, err := unix.Open(p, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			_ = unix.Close(fd)
			return fmt.Errorf("%s can be opened for writing", p)
		}
	}
	return nil
}

// empty: each path is missing, unreadable, or shows nothing.
func empty(paths ...string) error {
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			continue
		}
		defer func() { _ = f.Close() }()
		if n, _ := f.Read(make([]byte, 1)); n > 0 {
			return fmt.Errorf("%s can be read", p)
		}
		if names, _ := f.Readdirnames(1); len(names) > 0 {
			return fmt.Errorf("%s shows %q", p, names[0])
		}
	}
	return nil
}

func mode(path string, want fs.FileMode) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.Mode() != want {
		return fmt.Errorf("%s has mode %v, want %v", path, st.Mode(), want)
	}
	return nil
}

func owner(path string, uid, gid uint32) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	sys := st.Sys().(*syscall.Stat_t)
	if sys.Uid != uid || sys.Gid != gid {
		return fmt.Errorf("%s belongs to %d:%d, want %d:%d", path, sys.Uid, sys.Gid, uid, gid)
	}
	return nil
}

func characterDevice(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.Mode()&fs.ModeCharDevice == 0 {
		return fmt.Errorf("%s is %v, no character device", path, st.Mode())
	}
	return nil
}

func device(path string, major, minor uint32) error {
	if err := characterDevice(path); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if unix.Major(st.Rdev) != major || unix.Minor(st.Rdev) != minor {
		return fmt.Errorf("%s is device %d:%d, want %d:%d", path, unix.Major(st.Rdev), unix.Minor(st.Rdev), major, minor)
	}
	return nil
}

func devicesWork() error {
	if err := os.WriteFile("/dev/null", []byte("gone"), 0); err != nil {
		return err
	}
	if err := os.WriteFile("/dev/full", []byte("no room"), 0); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("writing to /dev/full: %w, want ENOSPC", err)
	}
	for _, name := range []string{"zero", "full", "random", "urandom"} {
		f, err := os.Open("/dev/" + name)
		if err != nil {
			return err
		}
		n, err := f.Read(make([]byte, 16))
		_ = f.Close()
		if err != nil || n != 16 {
			return fmt.Errorf("reading /dev/%s: %d, %w", name, n, err)
		}
	}
	return nil
}

// pseudoterminal makes one: the ptmx is the one of /dev/pts.
func pseudoterminal() error {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/ptmx: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("number of the pseudoterminal: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlock the pseudoterminal: %w", err)
	}
	other, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/pts/%d: %w", n, err)
	}
	return unix.Close(other)
}

// rootChecks: the app has its image's file system and none else.
func rootChecks(marker, foreign string) []check {
	return []check{
		{"fs.own-root", func() error {
			if _, err := os.Stat(marker); err != nil {
				return err
			}
			return missing(foreign)
		}},
		{"fs.root-is-a-mount", func() error {
			info, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(info)) {
				if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
					return nil
				}
			}
			return errors.New("no mount at /")
		}},
		{"fs.not-above-root", func() error {
			var a, b unix.Stat_t
			if err := first(unix.Stat("/", &a), unix.Stat("/../../../..", &b)); err != nil {
				return err
			}
			return same(b.Ino, a.Ino)
		}},
		{"fs.tmp", func() error { return first(mode("/tmp", fs.ModeDir|fs.ModeSticky|0o777), writable("/tmp")) }},
		{"fs.mtab", func() error { return readable("/etc/mtab", " /proc ") }},
	}
}

func missing(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w, want no such file", path, err)
	}
	return nil
}

func readable(path, want string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.Contains(string(data), want) {
		return fmt.Errorf("no %q in %s: %q", want, path, data)
	}
	return nil
}

func content(path, want string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if string(data) != want {
		return fmt.Errorf("%s holds %q, want %q", path, data, want)
	}
	return nil
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, "ace-")
	if err != nil {
		return err
	}
	_ = f.Close()
	return os.Remove(f.Name())
}

func notWritable(dir string) error {
	f, err := os.CreateTemp(dir, "ace-")
	if err == nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return fmt.Errorf("%s is writable", dir)
	}
	if !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("%w, want EROFS", err)
	}
	return nil
}

// nameChecks: names and addresses, the same in every app.
func nameChecks() []check {
	return []check{
		{"names.hostname", func() error {
			name, err := os.Hostname()
			if err != nil {
				return err
			}
			return same(name, expect.Hostname)
		}},
		{"names.etc-hostname", func() error { return content("/etc/hostname", expect.Hostname+"\n") }},
		{"names.etc-hosts", func() error {
			return first(readable("/etc/hosts", "127.0.0.1"), readable("/etc/hosts", "localhost"), readable("/etc/hosts", expect.HostsAddress+" "+expect.HostsName))
		}},
		{"names.etc-resolv.conf", func() error { return readable("/etc/resolv.conf", "nameserver "+expect.Nameserver) }},
	}
}

// volumeChecks are main's volumes.
func volumeChecks() []check {
	return []check{
		{"volume.host-read", func() error { return content(filepath.Join(expect.RW, expect.HostFile), expect.HostContent) }},
		{"volume.host-write", func() error {
			return os.WriteFile(filepath.Join(expect.RW, expect.WrittenFile), []byte("main was here\n"), 0o644)
		}},
		{"volume.read-only", func() error {
			return first(content(filepath.Join(expect.RO, expect.HostFile), expect.HostContent), notWritable(expect.RO))
		}},
		{"volume.read-only-by-mount-point", func() error {
			return first(content(filepath.Join(expect.Masked, expect.HostFile), expect.HostContent), notWritable(expect.Masked))
		}},
		{"volume.hides-the-image", func() error { return missing(expect.MaskedFile) }},
		{"volume.one-file", func() error { return content(expect.OneFile, expect.HostContent) }},
		{"volume.empty", func() error {
			return first(mode(expect.SharedMain, fs.ModeDir|expect.SharedMode), owner(expect.SharedMain, expect.SharedUID, expect.SharedGID))
		}},
		{"volume.implicit", func() error { return first(mode(expect.Implicit, fs.ModeDir|0o755), owner(expect.Implicit, 0, 0)) }},
		{"volume.target-made", func() error { return first(mode("/ace", fs.ModeDir|0o755), owner("/ace", 0, 0)) }},
	}
}
