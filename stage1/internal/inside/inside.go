// SPDX-License-Identifier: Apache-2.0

// Package inside starts processes inside a running pod from the host.
//
// A process that goes into a pod is a danger to the host as long as it has more
// power than the pod: from the moment that it is in the pod's PID namespace,
// what lives there may look into it, if it has CAP_SYS_PTRACE: into its program
// by /proc/PID/exe, its files by /proc/PID/root. So, in this order: the calling
// program becomes a sealed copy of itself in memory, which nobody can change
// (Seal; CVE-2019-5736); the namespaces are opened through a process that is
// checked to be the one that was meant; capabilities are cut to those of the
// pod's supervisor; a child joins every namespace but the PIDs', so that its
// root is the pod's; and its child, the first that the pod sees, is cloned into
// the PID namespace and executes.
//
// A process with several threads cannot join a user namespace (setns(2)), and
// every Go program has several. So the clones and what follows up to execve are
// raw system calls in children that have one thread only.
package inside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// firstFD is the first descriptor that is no standard stream.
const firstFD = 3

// kinds are the namespaces that are joined, the user's last: the others need
// the capabilities that the host has given.
var kinds = [...]string{"cgroup", "ipc", "uts", "net", "pid", "mnt", "user"}

// Namespaces are those of a process that are not the caller's own, by kind.
type Namespaces map[string]*os.File

// Open opens the namespaces of a process that started at start (clock ticks
// since boot).
func Open(pid int, start uint64) (Namespaces, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/ns/"
	all := Namespaces{}
	for _, kind := range kinds {
		f, err := os.Open(dir + kind)
		if err != nil {
			return nil, fmt.Errorf("namespaces of process %d: %w", pid, err)
		}
		same, err := sameNamespace(f, "/proc/self/ns/"+kind)
		if err != nil {
			return nil, err
		}
		if !same {
			all[kind] = f
		}
	}
	// What was opened belongs to the process that was meant.
	t, err := profile.StartTime(pid)
	if err != nil || t != start {
		return nil, fmt.Errorf("process %d has ended", pid)
	}
	return all, nil
}

func sameNamespace(f *os.File, own string) (bool, error) {
	var a, b unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &a); err != nil {
		return false, err
	}
	if err := unix.Stat(own, &b); err != nil {
		return false, err
	}
	return a.Dev == b.Dev && a.Ino == b.Ino, nil
}

// Seal makes the calling process a sealed copy of its own program, with the same
// arguments and the environment env. It returns if it is one already, or on
// failure.
func Seal(argv, env []string) error {
	const seals = unix.F_SEAL_WRITE
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	have, err := unix.FcntlInt(self.Fd(), unix.F_GET_SEALS, 0)
	_ = self.Close()
	if err == nil && have&seals == seals {
		return nil
	}
	f, err := SealedCopy()
	if err != nil {
		return err
	}
	path := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	return fmt.Errorf("execute the sealed copy: %w", unix.Exec(path, argv, env))
}

// SealedCopy is this program in memory that nobody can change.
func SealedCopy() (*os.File, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer func() { _ = self.Close() }()
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("rkt", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("rkt", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("sealed copy: %w", err)
	}
	f := os.NewFile(uintptr(fd), "rkt")
	if _, err := io.Copy(f, self); err != nil {
		return nil, errors.Join(fmt.Errorf("sealed copy: %w", err), f.Close())
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	// The kernel says EBUSY while it still holds pages of a file just written.
	for try := 0; ; try++ {
		_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EBUSY) || try == sealTries {
			return nil, errors.Join(fmt.Errorf("sealed copy: %w", err), f.Close())
		}
		time.Sleep(sealPause)
	}
}

const (
	sealTries = 50
	sealPause = 20 * time.Millisecond
)

// Child is a process to start.
type Child struct {
	Program    *os.File // of SealedCopy
	Namespaces Namespaces
	Keep       []*os.File // the descriptors that it gets beside the standard streams
	Caps       caps.Set   // what it may have
	Name       string     // argv[0]; the others are the numbers of Keep
}

// Start starts a child and returns its process ID. The calling goroutine is
// locked to its thread, which is good for nothing else afterwards: it has lost
// its capabilities.
func Start(c Child) (int, error) {
	if err := caps.Limit(c.Caps); err != nil {
		return 0, err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("protect this process: %w", err)
	}
	var list []int
	for _, kind := range kinds {
		if f := c.Namespaces[kind]; f != nil && kind != "pid" {
			list = append(list, int(f.Fd()))
		}
	}
	if err := unix.CloseRange(firstFD, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 0, fmt.Errorf("close descriptors: %w", err)
	}
	argv := []string{c.Name}
	for _, f := range c.Keep {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
			return 0, err
		}
		argv = append(argv, strconv.Itoa(int(f.Fd())))
	}
	pidns := -1
	if f := c.Namespaces["pid"]; f != nil {
		pidns = int(f.Fd())
	}
	return joinExec(int(c.Program.Fd()), list, pidns, argv, []string{})
}

// Kept are the descriptors that Start was told to keep, in the child.
func Kept(argv []string) ([]*os.File, error) {
	if len(argv) < 2 {
		return nil, errors.New("called by hand")
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("protect this process: %w", err)
	}
	var files []*os.File
	for _, word := range argv[1:] {
		fd, err := strconv.Atoi(word)
		if err != nil || fd < firstFD {
			return nil, errors.New("called by hand")
		}
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "kept"))
	}
	return files, nil
}
