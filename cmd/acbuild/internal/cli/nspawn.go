// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Versions of systemd in which flags of systemd-nspawn appeared.
const (
	nspawnChdir      = 229
	nspawnResolvConf = 239
	nspawnConsole    = 242
)

// nspawnEngine has systemd-nspawn run the command. It refuses trees without
// /usr and makes the others where they are missing.
func nspawnEngine() engine {
	return engine{
		dirs:    []string{"/usr", "/root", "/var", "/etc", "/proc", "/sys", "/dev", "/run", "/tmp"},
		links:   []string{"/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin"},
		command: nspawnCommand,
	}
}

func nspawnCommand(ctx context.Context, c *call, j job) (*exec.Cmd, error) {
	program, err := exec.LookPath("systemd-nspawn")
	if err != nil {
		if _, serr := os.Stat("/run/systemd/system"); errors.Is(serr, fs.ErrNotExist) {
			return nil, errors.New("system does not have systemd")
		}
		return nil, errors.New("systemd-nspawn is required but not found")
	}
	release, err := nspawnVersion(ctx, program)
	if err != nil {
		return nil, err
	}
	if j.workingDir != "" && release < nspawnChdir {
		return nil, errors.New("the working dir can only be set on systems with systemd-nspawn >= 229")
	}
	args := nspawnArgs(j, release)
	if release >= nspawnConsole && (!isTerminal(c.Stdin) || !isTerminal(c.Stdout)) {
		args = append([]string{"--console=pipe"}, args...) // the streams themselves, not a terminal's output
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=" + c.Getenv("PATH"), "TERM=" + c.Getenv("TERM"), "SYSTEMD_LOG_LEVEL=err"}
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}
	return cmd, nil
}

func nspawnArgs(j job, release int) []string {
	args := []string{"-D", j.root, "--quiet", "--register=no", "--keep-unit", "--link-journal=no"}
	if release >= nspawnResolvConf {
		args = append(args, "--settings=no", "--resolv-conf=off", "--timezone=off")
	}
	if j.workingDir != "" {
		args = append(args, "--chdir", j.workingDir)
	}
	for _, v := range j.env {
		args = append(args, "--setenv", v)
	}
	return append(append(args, "--", j.program), j.args...)
}

// nspawnVersion returns the number in "systemd 252 (252.39-1~deb12u2)".
func nspawnVersion(ctx context.Context, program string) (int, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(out))
	if len(fields) < 2 {
		return 0, errors.New("systemd-nspawn does not say its version")
	}
	digits, _, _ := strings.Cut(fields[1], "~")
	return strconv.Atoi(digits)
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
