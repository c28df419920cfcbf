// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// firstListenFD is the first descriptor of socket activation (sd_listen_fds(3)).
const firstListenFD = 3

// listenFDs is the number of descriptors that socket activation passed to this
// process, according to its environment.
func listenFDs(environ []string) int {
	vars := map[string]string{}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			vars[name] = value
		}
	}
	if pid, err := strconv.Atoi(vars["LISTEN_PID"]); err != nil || pid != os.Getpid() {
		return 0
	}
	n, err := strconv.Atoi(vars["LISTEN_FDS"])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// keepOnly lets exec close every descriptor but 0 to 2, the n of socket
// activation and the pod lock. Whatever else the caller of rkt left open must
// not reach an app.
func keepOnly(l *lock.Lock, n int) error {
	first := uint(firstListenFD + n)
	err := unix.CloseRange(first, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // before Linux 5.11
		err = closeOnExec(int(first))
	}
	if err != nil {
		return fmt.Errorf("mark descriptors close-on-exec: %w", err)
	}
	if err := l.Keep(); err != nil {
		return fmt.Errorf("keep pod lock across exec: %w", err)
	}
	return nil
}

func closeOnExec(first int) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// programIn returns the path of a program in a tree with links resolved inside
// the tree: exec would follow an absolute link of the image to the host.
func programIn(root, entry string) (string, error) {
	r, err := inroot.Open(root)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	resolved, err := r.Resolve(entry)
	if err != nil {
		return "", fmt.Errorf("program %s of stage1: %w", entry, err)
	}
	path := filepath.Join(root, resolved)
	if _, err := os.Lstat(path); err != nil {
		return "", fmt.Errorf("program %s of stage1: %w", entry, err)
	}
	return path, nil
}

func isLocked(err error) bool { return errors.Is(err, lock.ErrLocked) }
