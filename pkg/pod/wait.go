// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// ErrNotRunning says that a pod ended while something was awaited of it.
var ErrNotRunning = errors.New("not running anymore")

// pollInterval bounds how late a change is seen that causes no event, such as
// a file written below the pod directory.
const pollInterval = 50 * time.Millisecond

// WaitFinished waits until the pod is finished (State.IsFinished), following
// it through its states.
func (p *Pod) WaitFinished(ctx context.Context) error {
	return p.waitFor(ctx, func() (bool, error) { return p.state.IsFinished(), nil })
}

// WaitReady waits until the pod's supervisor has signalled readiness. A pod
// that ends before is ErrNotRunning.
func (p *Pod) WaitReady(ctx context.Context) error {
	return p.waitFor(ctx, func() (bool, error) {
		if p.state.IsFinished() {
			return false, fmt.Errorf("pod %s is %w", p.uuid, ErrNotRunning)
		}
		if p.state != Running {
			return false, nil
		}
		return p.IsReady()
	})
}

// WaitInitPID waits until stage1 has written its PID file and returns the
// process that enter is pointed at. A pod that ends before is ErrNotRunning.
func (p *Pod) WaitInitPID(ctx context.Context) (int, error) {
	pid := 0
	err := p.waitFor(ctx, func() (bool, error) {
		if p.state != Running {
			return false, fmt.Errorf("pod %s is %w", p.uuid, ErrNotRunning)
		}
		var err error
		pid, err = p.initPID()
		return pid != 0, err
	})
	return pid, err
}

// initPID returns 0 if stage1 is not that far.
func (p *Pod) initPID() (int, error) {
	pid, err := p.readInt(poddir.PID)
	if !isAbsent(err) {
		return pid, ignoreEmpty(err)
	}
	ppid, err := p.readInt(poddir.PPID)
	if isAbsent(err) {
		return 0, nil
	}
	if err != nil {
		return 0, ignoreEmpty(err)
	}
	return onlyChild(ppid)
}

// ignoreEmpty makes a PID file that is being written (stage1 of old versions
// does not rename it into place) count as absent.
func ignoreEmpty(err error) error {
	if errors.Is(err, strconv.ErrSyntax) {
		return nil
	}
	return err
}

// waitFor calls done after every change of the pod until it says yes.
func (p *Pod) waitFor(ctx context.Context, done func() (bool, error)) error {
	w := newWatch(p.lock.FD())
	defer w.close()
	for {
		if err := p.Refresh(); err != nil {
			return err
		}
		if ok, err := done(); ok || err != nil {
			return err
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// watch reports events on a directory: the kernel sends IN_CLOSE_NOWRITE when
// a descriptor of it is closed, which is what releases the pod lock, and
// IN_MOVE_SELF when the pod changes state. It is only a hint: without inotify
// (limits, old file systems) the pace is pollInterval.
type watch struct {
	events chan struct{}
	f      *os.File
}

func newWatch(dirfd int) *watch {
	w := &watch{events: make(chan struct{}, 1)}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return w
	}
	const mask = unix.IN_CLOSE_NOWRITE | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF |
		unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ONLYDIR
	if _, err := unix.InotifyAddWatch(fd, "/proc/self/fd/"+strconv.Itoa(dirfd), mask); err != nil {
		_ = unix.Close(fd)
		return w
	}
	w.f = os.NewFile(uintptr(fd), "inotify")
	go w.pump()
	return w
}

func (w *watch) pump() {
	buf := make([]byte, 4096)
	for {
		if _, err := w.f.Read(buf); err != nil {
			return
		}
		select {
		case w.events <- struct{}{}:
		default:
		}
	}
}

func (w *watch) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.events:
		// The event comes an instant before the lock is released (__fput
		// notifies first), and events of one action come together.
		time.Sleep(200 * time.Microsecond)
	case <-time.After(pollInterval):
	}
	return nil
}

func (w *watch) close() {
	if w.f != nil {
		_ = w.f.Close()
	}
}

// onlyChild returns the single child of a process, 0 if it has none yet.
func onlyChild(ppid int) (int, error) {
	path := fmt.Sprintf("/proc/%d/task/%d/children", ppid, ppid)
	data, err := os.ReadFile(path)
	if isAbsent(err) {
		return scanChildren(ppid)
	}
	if err != nil {
		return 0, fmt.Errorf("children of pid %d: %w", ppid, err)
	}
	return single(strings.Fields(string(data)), ppid)
}

// scanChildren is for kernels without CONFIG_PROC_CHILDREN.
func scanChildren(ppid int) (int, error) {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("children of pid %d: %w", ppid, err)
	}
	var children []string
	for _, e := range procs {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // ended meanwhile
		}
		if parentOf(string(stat)) == strconv.Itoa(ppid) {
			children = append(children, e.Name())
		}
	}
	return single(children, ppid)
}

// parentOf returns field 4 of /proc/PID/stat. Field 2, the command name, is in
// parentheses and may contain anything.
func parentOf(stat string) string {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return ""
	}
	fields := strings.Fields(stat[i+1:])
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}

func single(children []string, ppid int) (int, error) {
	switch len(children) {
	case 0:
		return 0, nil
	case 1:
		return strconv.Atoi(children[0])
	}
	return 0, fmt.Errorf("too many children of pid %d", ppid)
}
