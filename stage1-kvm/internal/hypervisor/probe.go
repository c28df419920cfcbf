// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What the choice depends on.
const (
	kvmDevice = "/dev/kvm"
	// probeDir keeps what a probe has found until the host is started again.
	probeDir = "/run/rkt"
	// probePatience is how long a kernel may take to boot on a real processor.
	probePatience = 15 * time.Second
)

// ProbeArg asks the guest's first program for nothing but a power-off.
const ProbeArg = "rkt.probe"

// Choose decides who executes the guest. A device /dev/kvm that can be opened
// does not tell that a kernel runs with it (nested virtualisation, other
// hypervisors' ideas of one): it is tried once, by booting the kernel of the
// image, and the answer is kept. warning is for the person, if it is TCG.
func Choose(tree string) (a Accel, warning string, err error) {
	reason, err := whyNotKVM(tree)
	if err != nil || reason == "" {
		return KVM, "", err
	}
	return TCG, "warning: " + reason + ": the virtual machine is emulated in software, many times slower", nil
}

func whyNotKVM(tree string) (string, error) {
	f, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	if err != nil {
		return fmt.Sprintf("KVM is not available (%v)", err), nil
	}
	_ = f.Close()
	file := filepath.Join(probeDir, "kvm-probe-"+kernelKey(tree))
	if data, err := os.ReadFile(file); err == nil {
		return strings.TrimSpace(string(data)), nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	reason := Probe(tree)
	if err := os.MkdirAll(probeDir, 0o755); err != nil {
		return "", err
	}
	return reason, os.WriteFile(file, []byte(reason+"\n"), 0o644)
}

// kernelKey names the kernel that is tried.
func kernelKey(tree string) string {
	st, err := os.Stat(tree + Kernel)
	if err != nil {
		return "none"
	}
	return fmt.Sprintf("%x", st.Size())
}

// Probe boots the kernel with KVM and returns why it does not run, "" if it does.
func Probe(tree string) string {
	ctx, cancel := context.WithTimeout(context.Background(), probePatience)
	defer cancel()
	m := Machine{Accel: KVM, Size: Size{1, 128}, Append: ProbeArg, ShareFD: -1, AgentFD: -1}
	argv := m.ArgvBelow(tree)
	cmd := exec.CommandContext(ctx, argv[0]) //nolint:gosec // of stage1
	cmd.Args, cmd.Env = argv, Env(tree)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWIPC}
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return "KVM cannot run a kernel here: it does not boot"
	case err != nil:
		return fmt.Sprintf("KVM cannot run a kernel here: %v", err)
	case strings.Contains(string(out), "Kernel panic"):
		return "KVM cannot run a kernel here: it panics"
	}
	return ""
}

// MakeKVMDevice makes a directory of devices with the one that qemu needs, for
// whoever sees it: nobody but qemu does.
func MakeKVMDevice(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(kvmDevice, &st); err != nil {
		return &os.PathError{Op: "stat", Path: kvmDevice, Err: err}
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("devices of qemu: %w", err)
	}
	name := filepath.Join(dir, "kvm")
	if err := unix.Mknod(name, unix.S_IFCHR|0o666, int(st.Rdev)); err != nil {
		return &os.PathError{Op: "mknod", Path: name, Err: err}
	}
	return os.Chmod(name, 0o666) // whatever the umask is
}
