// SPDX-License-Identifier: Apache-2.0

//go:build packaging

package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// host is a Debian in a directory whose processes live in namespaces of their
// own: of mounts, PIDs and networks.
type host struct {
	t    *testing.T
	root string
	pid  string // of its first process
}

// become makes the directory $1 the root of a mount namespace, with proc, sys,
// dev and the cgroups, and stays.
const become = `set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
ip link set lo up
pivot_root . mnt
umount -l /mnt
echo ready >/tmp/ready
exec sleep 3600`

// newHost copies the cached Debian and starts it. The end of its first process
// ends all others and with them its mounts.
func newHost(t *testing.T) *host {
	t.Helper()
	// Below the cache: the tree has devices, which a temporary directory may refuse.
	root, err := os.MkdirTemp(harness.CacheDir(t), ".packaging-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, root: root}
	t.Cleanup(func() {
		if left := harness.MountsBelow(root); len(left) > 0 {
			t.Errorf("mounts are left, so %s is left as well: %v", root, left)
			return
		}
		if err := os.RemoveAll(root); err != nil {
			t.Errorf("remove the test's Debian: %v", err)
		}
	})
	harness.Command(t, "cp", "-a", harness.DebianTree(t)+"/.", root)
	h.start()
	return h
}

func (h *host) start() {
	h.t.Helper()
	cmd := exec.Command("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "sh", "-c", become, "sh", h.root)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	children := fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid)
	ok := harness.WaitFor(20*time.Second, func() bool {
		list, _ := os.ReadFile(children)
		h.pid = strings.TrimSpace(string(list))
		if h.pid == "" {
			return false
		}
		_, err := os.Stat(filepath.Join("/proc", h.pid, "root/tmp/ready"))
		return err == nil
	})
	if !ok {
		h.t.Fatalf("the test's Debian did not start: %s", out.String())
	}
}

// command is a command on the host.
func (h *host) command(args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--target", h.pid, "--mount", "--pid", "--net", "--root", "--wd", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	return cmd
}

// run returns what a command prints; it has to succeed.
func (h *host) run(args ...string) string {
	h.t.Helper()
	out, err := h.command(args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// refuses returns what a command prints that has to fail.
func (h *host) refuses(args ...string) string {
	h.t.Helper()
	out, err := h.command(args...).CombinedOutput()
	if err == nil {
		h.t.Fatalf("%s succeeded:\n%s", strings.Join(args, " "), out)
	}
	return string(out)
}

// put copies a file to the host and returns its path there.
func (h *host) put(file string) string {
	h.t.Helper()
	path := "/var/tmp/" + filepath.Base(file)
	harness.Command(h.t, "cp", file, h.root+path)
	return path
}
