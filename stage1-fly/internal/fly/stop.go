// SPDX-License-Identifier: Apache-2.0

package fly

import (
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
	"github.com/rkt/rkt/v2/stage1-fly/internal/profile"
)

// cgroupPatience is how long processes may take to die.
const cgroupPatience = 10 * time.Second

// stop asks the app to end, or ends it. It does not wait. If the app's own
// process is gone but others hold the pod, its process group gets the signal.
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
	if errors.Is(err, errGone) {
		err = signalGroup(sig)
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

// signalGroup signals the process group of the app. A group number can be
// given away, too: it still is the pod's if one of its members holds the pod
// directory open, as what the app started does.
func signalGroup(sig unix.Signal) error {
	pgid, err := readNumber(poddir.PGID)
	if err != nil {
		return err
	}
	if pgid <= 1 {
		return fmt.Errorf("process group %d in %s", pgid, poddir.PGID)
	}
	ours, err := holdsPod(pgid)
	if err != nil {
		return err
	}
	if !ours {
		return errGone
	}
	if err := unix.Kill(-pgid, sig); err != nil {
		return fmt.Errorf("signal process group %d: %w", pgid, err)
	}
	return nil
}

// holdsPod tells whether a process of the group has the pod directory open.
func holdsPod(pgid int) (bool, error) {
	var pod unix.Stat_t
	if err := unix.Stat(".", &pod); err != nil {
		return false, err
	}
	names, err := readDirNames("/proc")
	if err != nil {
		return false, err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if g, err := unix.Getpgid(pid); err != nil || g != pgid {
			continue
		}
		fds, err := readDirNames("/proc/" + name + "/fd")
		if err != nil {
			continue // ended meanwhile
		}
		for _, fd := range fds {
			var st unix.Stat_t
			if unix.Stat("/proc/"+name+"/fd/"+fd, &st) == nil && st.Dev == pod.Dev && st.Ino == pod.Ino {
				return true, nil
			}
		}
	}
	return false, nil
}

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
