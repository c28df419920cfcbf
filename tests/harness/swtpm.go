// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// TPM starts a TPM 2.0 made of software, new and started up, and returns its
// socket. It ends with the test.
func TPM(t testing.TB) string {
	t.Helper()
	program := testenv.NeedsProgram(t, "swtpm")
	dir, err := os.MkdirTemp("", "rkt-tpm-") //nolint:usetesting // short: a path of a socket has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	sock := filepath.Join(dir, "s")
	cmd := exec.Command(program, "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+sock,
		"--flags", "not-need-init,startup-clear")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if !WaitFor(20*time.Second, func() bool {
		c, err := net.Dial("unix", sock) // the file is there before somebody listens
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}) {
		t.Fatal("swtpm does not listen")
	}
	return sock
}
