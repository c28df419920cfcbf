// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// pollInterval is how often the journal files of a pod that is followed are
// looked at. Watching them instead would miss what is written through an
// overlay mount.
const pollInterval = 100 * time.Millisecond

// Main is the entrypoint. It has the thread to itself.
func Main(argv []string) error {
	call, err := entrypoint.ParseLogs(argv)
	if err != nil {
		return err
	}
	// What the caller of rkt left open is not for journalctl. Before Linux 5.11
	// it gets it.
	_ = unix.CloseRange(3, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC)
	v, err := newViewer(call, os.Stdout)
	if err != nil {
		return err
	}
	defer v.close()
	if call.Follow {
		return v.follow()
	}
	_, err = v.show("")
	return err
}

// viewer shows a journal.
type viewer struct {
	call entrypoint.Logs
	tool *tool
	dir  *os.File // with the journal files; nil: not there yet
	out  *os.File
}

func newViewer(call entrypoint.Logs, out *os.File) (*viewer, error) {
	t, err := findTool(call.Root)
	if err != nil {
		return nil, err
	}
	return &viewer{call: call, tool: t, out: out}, nil
}

func (v *viewer) close() {
	v.tool.close()
	if v.dir != nil {
		_ = v.dir.Close()
	}
}

// open opens the directory of the journal. What the pod has written leads
// nowhere else: no component may be a link. Without a directory it is no error.
func (v *viewer) open() error {
	if v.dir != nil {
		return nil
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, v.call.Journal, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return &os.PathError{Op: "open", Path: v.call.Journal, Err: err}
	}
	v.dir = os.NewFile(uintptr(fd), v.call.Journal)
	return nil
}

// follow shows entries until the pod has ended. The descriptors stay good when
// the pod directory is moved or removed meanwhile.
func (v *viewer) follow() error {
	pod, err := lock.Open(".")
	if err != nil {
		return fmt.Errorf("open pod directory: %w", err)
	}
	defer func() { _ = pod.Close() }()
	var cursor, seen string
	for {
		// The order matters: what is in the files when the pod has ended is all.
		ended, err := isFree(pod)
		if err != nil {
			return err
		}
		now, err := v.fingerprint()
		if err != nil {
			return err
		}
		if now != seen {
			if cursor, err = v.show(cursor); err != nil {
				return err
			}
			seen = now
		}
		if ended {
			return nil
		}
		time.Sleep(pollInterval)
	}
}

// isFree tells whether nobody holds the lock exclusively, as the supervisor of
// a running pod does.
func isFree(l *lock.Lock) (bool, error) {
	err := l.Try(lock.Shared)
	switch {
	case errors.Is(err, lock.ErrLocked):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("lock of pod: %w", err)
	}
	return true, l.Unlock()
}
