// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/stage1-kvm/internal/hypervisor"
)

const (
	// ShareTag is the virtiofs share with everything that the pod has of the host.
	ShareTag = "pod"
	// ShareStage1 has the tree of stage1 in it.
	ShareStage1 = "stage1"
	// ShareVolumes has the host's volumes, by number.
	ShareVolumes = "volumes"
	// ShareEmpty is where empty volumes are made.
	ShareEmpty = "empty"
	// ShareDir is where the share is mounted.
	ShareDir = "/share"
	// PodDir is the pod directory of the guest.
	PodDir = "/pod"
)

// programFile is this program in the machine's root.
const programFile = "/rkt-guest"

// mount is one file system of the machine.
type mount struct {
	source, target, kind string
	flags                uintptr
	options              string
}

const plain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

func do(all []mount) error {
	for _, m := range all {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
		}
	}
	return nil
}

// mountKernel mounts what the kernel tells, in the initramfs.
func mountKernel() error {
	err := do([]mount{
		{"proc", "/proc", "proc", plain, ""},
		{"sysfs", "/sys", "sysfs", plain, ""},
	})
	if err != nil {
		return err
	}
	err = do([]mount{{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=755"}})
	if errors.Is(err, unix.EBUSY) {
		return nil // the kernel has done it
	}
	return err
}

func isProbe() (bool, error) {
	data, err := os.ReadFile("/proc/cmdline")
	return slices.Contains(strings.Fields(string(data)), hypervisor.ProbeArg), err
}

// makeRoot makes a root that can be left by pivot_root(2), which that of an
// initramfs cannot, and goes there.
func makeRoot() error {
	const root = "/root"
	if err := do([]mount{{"tmpfs", root, "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755,size=25%"}}); err != nil {
		return err
	}
	if err := copySelf(root + programFile); err != nil {
		return err
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := os.Mkdir(root+dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, root+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return fill()
}

// fill mounts what programs expect of a host.
func fill() error {
	err := do([]mount{
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{"tmpfs", "/dev/shm", "tmpfs", plain &^ unix.MS_NOEXEC, "mode=1777"},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", plain, "nsdelegate"},
		{ShareTag, ShareDir, "virtiofs", unix.MS_NODEV, ""},
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{"/etc", "/var", PodDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	// systemd-nspawn shows a pod that of its host, and needs one.
	if err := os.WriteFile("/etc/os-release", []byte("ID=rkt\nNAME=rkt\n"), 0o644); err != nil {
		return err
	}
	for link, target := range map[string]string{
		"/var/run": "/run", "/dev/fd": "/proc/self/fd",
		"/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2",
	} {
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// copySelf copies this program: what the kernel has unpacked is out of reach
// later.
func copySelf(to string) error {
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}
