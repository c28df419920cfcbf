// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// cgroupPatience is how long processes may take to die.
const cgroupPatience = 10 * time.Second

// stop asks the app to end, or ends it with all that it has started. It does
// not wait. If the app's own process is gone, those that still hold the pod
// get the signal: what the app has left behind.
func stop(argv []string) error {
	s, err := entrypoint.ParseStop(argv)
	if err != nil {
		return err
	}
	sig := unix.SIGTERM
	if s.Force {
		sig = unix.SIGKILL
	}
	err = signalApp(sig)
	if gone := errors.Is(err, errGone); gone || s.Force {
		found, herr := signalHolders(sig)
		if gone && found {
			err = nil
		}
		err = errors.Join(err, herr)
	}
	if s.Force {
		err = errors.Join(err, killCgroups(s.UUID))
	}
	return err
}

// errGone says that the process of the PID file does not exist any more.
var errGone = errors.New("the app's process has ended")

// signalApp goes through a pidfd: checked first, then signalled, it is the
// same process.
func signalApp(sig unix.Signal) error {
	pid, err := readNumber(poddir.PID)
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	prof, err := profile.Read()
	if err != nil {
		return err
	}
	err = prof.Check(pid)
	if errors.Is(err, profile.ErrOtherProcess) || errors.Is(err, os.ErrNotExist) {
		return errGone
	}
	if err != nil {
		return err
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

// signalHolders signals the processes that hold the pod, and tells whether
// there is one. It does not go by the process group: that is the caller's of
// rkt, who may be a script.
func signalHolders(sig unix.Signal) (found bool, err error) {
	names, err := readDirNames("/proc")
	if err != nil {
		return false, err
	}
	var pod, root unix.Stat_t
	if err := errors.Join(unix.Stat(".", &pod), unix.Stat("/", &root)); err != nil {
		return false, err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // ended meanwhile
		}
		if holds(name, &pod, &root) {
			found = true
			if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return found, errors.Join(fmt.Errorf("signal process %d: %w", pid, err), unix.Close(fd))
			}
		}
		_ = unix.Close(fd)
	}
	return found, nil
}

// holds tells whether a process is one of the pod's: it is inside another root
// than ours and has inherited the descriptor with the lock on the pod
// directory. Commands of rkt look at pods, too, but never from a root of
// their own nor with that lock.
func holds(pid string, pod, root *unix.Stat_t) bool {
	var st unix.Stat_t
	if unix.Stat("/proc/"+pid+"/root", &st) != nil || sameFile(&st, root) {
		return false
	}
	fds, err := readDirNames("/proc/" + pid + "/fd")
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if unix.Stat("/proc/"+pid+"/fd/"+fd, &st) != nil || !sameFile(&st, pod) {
			continue
		}
		info, err := os.ReadFile("/proc/" + pid + "/fdinfo/" + fd)
		if err == nil && bytes.Contains(info, []byte("FLOCK")) {
			return true
		}
	}
	return false
}

func sameFile(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

func readDirNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	return d.Readdirnames(-1)
}

func readNumber(file string) (int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s: %q is not a process ID", file, data)
	}
	return n, nil
}

// killCgroups ends what the app has started, where it has a cgroup.
func killCgroups(id poddir.UUID) error {
	paths, err := recordedCgroups()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cgroupPatience)
	defer cancel()
	return cgroup.Kill(ctx, paths, id.Scope())
}
