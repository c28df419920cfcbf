// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/idmap"
)

// programTime is how long a program may take to print its version.
const programTime = 5 * time.Second

// Real is the host this process runs on. Running is for the caller to set.
func Real(dataDir, config string) *Host {
	return &Host{
		Root: "/", DataDir: dataDir, Config: config, EUID: os.Geteuid(), Now: time.Now(),
		Release: release,
		Statfs: func(path string) (st unix.Statfs_t, err error) {
			if err = unix.Statfs(path, &st); err != nil {
				err = &os.PathError{Op: "statfs", Path: path, Err: err}
			}
			return st, err
		},
		Output:  output,
		Cgroups: cgroups,
		Openat2: func() error {
			fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		},
		Idmap: idmap.Supported,
		Synced: func() (bool, error) {
			var t unix.Timex // reads only: no mode is set
			state, err := unix.Adjtimex(&t)
			return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, err
		},
		Running: func(string) bool { return false },
	}
}

func release() (string, error) {
	var u unix.Utsname
	err := unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:]), err
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	return string(out), err
}

func cgroups() (Cgroups, error) {
	host, err := cgroup.Detect()
	if err != nil {
		return Cgroups{}, err
	}
	c := Cgroups{Layout: string(host.Layout())}
	for _, name := range []string{cgroup.Memory, cgroup.CPU, cgroup.Pids, cgroup.IO} {
		if host.Has(name) {
			c.Controllers = append(c.Controllers, name)
		}
	}
	// No file of the root group, so it is looked for in any other.
	for _, pattern := range []string{"/sys/fs/cgroup/*/cgroup.kill", "/sys/fs/cgroup/unified/*/cgroup.kill"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			c.Kill = true
		}
	}
	return c, nil
}

func readAll(f *os.File) (string, error) {
	b, err := io.ReadAll(io.LimitReader(f, maxRead))
	return strings.TrimSuffix(string(b), "\n"), err
}
