// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/tests/ace/expect"
)

// account is who an app has to be.
type account struct {
	uid, gid int
	groups   []int
}

func mainAccount() account {
	return account{uid: expect.UID, gid: expect.GID, groups: append([]int{expect.GID}, expect.SupplementaryGIDs()...)}
}

func rootAccount() account { return account{groups: []int{0}} }

func accountChecks(a account) []check {
	return []check{
		{"user.uid", func() error { return ids("Uid", a.uid) }},
		{"user.gid", func() error { return ids("Gid", a.gid) }},
		{"user.groups", func() error {
			got, err := os.Getgroups()
			if err != nil {
				return err
			}
			if len(got) == 0 && slices.Equal(a.groups, []int{0}) {
				return nil
			}
			slices.Sort(got) // as the kernel does with more than a few
			slices.Sort(a.groups)
			if !slices.Equal(got, a.groups) {
				return fmt.Errorf("%v, want %v", got, a.groups)
			}
			return nil
		}},
	}
}

// ids compares the real, effective, saved and file system ids.
func ids(field string, want int) error {
	line, err := status(field)
	if err != nil {
		return err
	}
	w := strconv.Itoa(want)
	return same(strings.Join(strings.Fields(line), " "), strings.Join([]string{w, w, w, w}, " "))
}

// status is a field of /proc/self/status.
func status(field string) (string, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok && k == field {
			return strings.TrimSpace(v), nil
		}
	}
	return "", fmt.Errorf("no %s in /proc/self/status", field)
}

func hexStatus(field string) (uint64, error) {
	v, err := status(field)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(v, 16, 64)
}

// capabilities compares one of the process's sets.
func capabilities(field string, want uint64) func() error {
	return func() error {
		got, err := hexStatus(field)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s %016x, want %016x", field, got, want)
		}
		return nil
	}
}

func statusIs(field, want string) func() error {
	return func() error {
		got, err := status(field)
		if err != nil {
			return err
		}
		return same(got, want)
	}
}

// processChecks are the attributes of a main process besides its user.
func processChecks(dir string) []check {
	return []check{
		{"working-directory", func() error { return workingDirectory(dir) }},
		{"process.not-pid-1", func() error {
			if os.Getpid() == 1 {
				return errors.New("the app is PID 1")
			}
			return nil
		}},
		{"process.session-leader", func() error {
			sid, err := unix.Getsid(0)
			if err != nil {
				return err
			}
			return same(sid, os.Getpid())
		}},
		{"process.umask", func() error {
			old := unix.Umask(0o022)
			return same(old, 0o022)
		}},
		{"process.descriptors", descriptors},
		{"process.stdin-is-null", func() error { return device("/proc/self/fd/0", 1, 3) }},
		{"process.no-terminal", func() error {
			for fd := range 3 {
				if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
					return fmt.Errorf("descriptor %d is a terminal", fd)
				}
			}
			return nil
		}},
		{"process.signals-not-blocked", statusIs("SigBlk", "0000000000000000")},
		{"process.signals-not-ignored", statusIs("SigIgn", "0000000000000000")},
	}
}

func workingDirectory(want string) error {
	var a, b unix.Stat_t
	got, err := os.Getwd()
	if err := first(err, unix.Stat(".", &a), unix.Stat(want, &b)); err != nil {
		return err
	}
	if a.Dev != b.Dev || a.Ino != b.Ino {
		return fmt.Errorf("%q, want %q", got, want)
	}
	return nil
}

// descriptors lists the open ones by system calls: package os would open some.
func descriptors() error {
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	buf := make([]byte, 64<<10)
	n, err := unix.ReadDirent(dir, buf)
	if err != nil {
		return err
	}
	_, _, names := unix.ParseDirent(buf[:n], -1, nil)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd == dir {
			continue
		}
		to, err := os.Readlink("/proc/self/fd/" + name)
		if err == nil && fd > 2 && !strings.HasPrefix(to, "anon_inode:[event") { // the runtime's poller
			return fmt.Errorf("descriptor %d is open: %q", fd, to)
		}
	}
	for fd := range 3 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return fmt.Errorf("descriptor %d is closed", fd)
		}
	}
	return nil
}

// argv compares the kernel's own copy of the arguments.
func argv(want []string) func() error {
	return func() error {
		data, err := os.ReadFile("/proc/self/cmdline")
		if err != nil {
			return err
		}
		got := bytes.Split(bytes.TrimSuffix(data, []byte{0}), []byte{0})
		for i := range max(len(got), len(want)) {
			switch {
			case i >= len(got):
				return fmt.Errorf("argument %d is missing: %q", i, want[i])
			case i >= len(want):
				return fmt.Errorf("argument %d is too much: %q", i, got[i])
			case string(got[i]) != want[i]:
				return fmt.Errorf("argument %d is %q, want %q", i, got[i], want[i])
			}
		}
		return nil
	}
}
