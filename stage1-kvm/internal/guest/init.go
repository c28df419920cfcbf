// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// AgentName is what the second process calls itself.
const AgentName = "agent"

// Init is PID 1. It returns only if there is nothing to power off.
func Init([]string) error {
	if os.Getpid() != 1 {
		return errors.New("called by hand")
	}
	err := boot()
	if err == nil {
		err = tend()
	}
	if err != nil {
		_, _ = os.Stderr.WriteString("guest: " + err.Error() + "\n")
	}
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// boot makes the root of the machine.
func boot() error {
	if err := mountKernel(); err != nil {
		return err
	}
	probe, err := isProbe()
	if err != nil || probe {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	return makeRoot()
}

// tend starts the agent and reaps until it has ended.
func tend() error {
	pid, err := syscall.ForkExec(programFile, []string{AgentName}, &syscall.ProcAttr{
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=linux"}, Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait: %w", err)
		}
		if got == pid {
			return nil
		}
	}
}
