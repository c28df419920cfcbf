// SPDX-License-Identifier: Apache-2.0

//go:build vm

package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

const (
	// accelEnv chooses the accelerator by hand, as qemu's -accel takes it.
	accelEnv = "RKT_VM_ACCEL"
	tcg      = "tcg,thread=multi"
	// probePatience is many times what a kernel under kvm needs to start.
	probePatience = 20 * time.Second
	booted        = "vm: booted"
)

// accelerator is kvm where a kernel boots under it, and TCG elsewhere: that
// /dev/kvm can be opened says little, in a machine that is virtual itself. It is
// found out by booting and remembered until this machine, its kernel or qemu is
// another one.
func accelerator(t *testing.T, k kernel) string {
	t.Helper()
	if a := os.Getenv(accelEnv); a != "" {
		return a
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return tcg
	}
	boot := read(t, "/proc/sys/kernel/random/boot_id")
	sum := sha256.Sum256([]byte(string(boot) + k.version + harness.Command(t, "qemu-system-x86_64", "--version")))
	dir := harness.Cached(t, "vm-accel-"+hex.EncodeToString(sum[:6]), func(dir string) {
		answer := tcg
		if why := boots(t, k, "kvm"); why == "" {
			answer = "kvm"
		} else {
			t.Logf("no kernel boots under kvm (%s): emulating the processor", why)
		}
		writeNew(t, filepath.Join(dir, "accel"), []byte(answer), 0o644)
	})
	return string(read(t, filepath.Join(dir, "accel")))
}

// boots tells why no kernel boots under an accelerator, "" if one does.
func boots(t *testing.T, k kernel, accel string) (why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), probePatience)
	defer cancel()
	var c cpio
	for _, dir := range []string{"dev", "proc"} {
		c.dir(dir)
	}
	c.file("init", read(t, harness.GoProgram(t, "tests/vm/init")))
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", qemuArgs(accel, k, c.write(t), "vm.host=probe")...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	switch {
	case strings.Contains(string(out), booted):
		return ""
	case ctx.Err() != nil:
		return "silent for " + probePatience.String()
	case err != nil:
		return err.Error()
	}
	return "it ends at once"
}

// qemuArgs are the arguments that every machine has.
func qemuArgs(accel string, k kernel, initrd, words string) []string {
	return []string{
		"-machine", "q35", "-accel", accel, "-cpu", "max", "-smp", "2", "-m", "2048",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", k.image, "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off systemd.show_status=no " + words,
	}
}
