// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrForeign is returned for a path whose last component is not the group's name.
var ErrForeign = errors.New("not a cgroup of this pod")

// check refuses what a damaged list could make us remove.
func check(p, name string) error {
	if name == "" || path.Base(p) != name || !path.IsAbs(p) || path.Clean(p) != p {
		return fmt.Errorf("%s: %w", p, ErrForeign)
	}
	return nil
}

// Kill sends SIGKILL to every process of the directories and what is below
// them, except the calling one. It repeats until none is left to kill or ctx
// is done, because a process may fork meanwhile.
func Kill(ctx context.Context, paths []string, name string) error {
	for _, p := range paths {
		if err := check(p, name); err != nil {
			return err
		}
		if err := killTree(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func killTree(ctx context.Context, p string) error {
	for {
		pids, err := processes(p)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		// One write where the kernel can do it: atomic, forks included
		// (Linux 5.14). Not if we are in there ourselves.
		if slices.Contains(pids, os.Getpid()) || (osFS{}).write(path.Join(p, "cgroup.kill"), "1") != nil {
			killAll(pids)
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("kill processes of cgroup %s: %w", p, err)
		}
		if len(pids) == 1 && pids[0] == os.Getpid() {
			return nil
		}
	}
}

func killAll(pids []int) {
	for _, pid := range pids {
		if pid != os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL) // gone already is fine
		}
	}
}

// processes lists the processes in a directory and below.
func processes(dir string) ([]int, error) {
	var pids []int
	err := walk(dir, func(d string) error {
		text, err := (osFS{}).read(filepath.Join(d, "cgroup.procs"))
		if ignorable(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, f := range strings.Fields(text) {
			pid, err := strconv.Atoi(f)
			if err != nil || pid <= 0 { // 0: not visible in our PID namespace
				return fmt.Errorf("cgroup %s: process ID %q", d, f)
			}
			pids = append(pids, pid)
		}
		return nil
	})
	return pids, err
}

// ignorable are the errors of a cgroup that was removed meanwhile, and of a
// threaded one.
func ignorable(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP)
}

// Remove removes the directories and what is below them, deepest first. What
// is gone already is no error. Processes that are still dying keep a cgroup
// busy for a moment: it retries until ctx is done.
func Remove(ctx context.Context, paths []string, name string) error {
	var errs []error
	for _, p := range paths {
		if err := check(p, name); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, removeTree(ctx, p))
	}
	return errors.Join(errs...)
}

func removeTree(ctx context.Context, p string) error {
	for {
		var dirs []string
		if err := walk(p, func(d string) error { dirs = append(dirs, d); return nil }); err != nil {
			return err
		}
		slices.Reverse(dirs)
		var busy error
		for _, d := range dirs {
			err := unix.Rmdir(d)
			if errors.Is(err, unix.EBUSY) {
				busy = err
			} else if err != nil && !ignorable(err) {
				return fmt.Errorf("remove cgroup %s: %w", d, err)
			}
		}
		if busy == nil {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("remove cgroup %s: %w: %w", p, busy, err)
		}
	}
}

// walk visits a directory and those below it, parents first.
func walk(dir string, visit func(string) error) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if ignorable(err) {
			return nil
		}
		if err != nil || !d.IsDir() {
			return err
		}
		return visit(p)
	})
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Millisecond):
		return nil
	}
}
