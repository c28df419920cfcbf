// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

// buildCheck builds testdata/check.
func buildCheck(t *testing.T, goarch string) string {
	t.Helper()
	prog := filepath.Join(t.TempDir(), "check")
	build := exec.Command("go", "build", "-trimpath", "-o", prog, "./testdata/check")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+goarch, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return prog
}

// answers runs the check under a filter.
func answers(t *testing.T, prog, filter string) map[string]unix.Errno {
	t.Helper()
	out, err := child(t, nil, filter, prog).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]unix.Errno{}
	for line := range strings.Lines(string(out)) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = unix.Errno(n)
	}
	return got
}

// TestDefaultForReal asks the kernel, by the native table and the other one.
func TestDefaultForReal(t *testing.T) {
	testenv.NeedsRoot(t)
	want := map[string]unix.Errno{
		"getppid":    0,
		"socket-alg": unix.EAFNOSUPPORT, "socket-vsock": unix.EAFNOSUPPORT, "socket-vsock-high": unix.EAFNOSUPPORT,
		"ioctl-tiocsti": unix.EPERM, "ioctl-tiocsti-high": unix.EPERM, "ioctl-tioclinux": unix.EPERM, "ioctl-tcgets": unix.EBADF,
		"clone3": unix.ENOSYS, "clone-newuser": unix.EPERM, "clone-newuser-high": unix.EPERM, "clone-thread": unix.EINVAL,
		"unshare":           unix.EPERM,
		"personality-query": 0, "personality-norandom": unix.EPERM,
		"keyctl": unix.EPERM, "io_uring_setup": unix.EPERM, "mount": unix.EPERM, "fsopen": unix.EPERM,
		"unknown": unix.ENOSYS, "minus-one": unix.ENOSYS,
	}
	only := map[string]map[string]unix.Errno{
		"amd64": {"x32-getppid": unix.ENOSYS, "x32-socket-vsock": unix.ENOSYS},
		"386":   {"socketcall-socket": unix.ENOSYS, "socketcall-listen": unix.EFAULT},
	}
	tables := []string{runtime.GOARCH}
	if runtime.GOARCH == "amd64" {
		tables = append(tables, "386")
	}
	for _, goarch := range tables {
		prog := buildCheck(t, goarch)
		got, free := answers(t, prog, fmt.Sprintf("default %d", caps.Default)), answers(t, prog, "")
		if len(got) != len(want)+len(only[goarch]) {
			t.Errorf("%s: %d answers", goarch, len(got))
		}
		for name, errno := range got {
			expected, ok := want[name]
			if !ok {
				expected = only[goarch][name]
			}
			if errno != expected {
				t.Errorf("%s %s: errno %d (%s), want %d", goarch, name, int(errno), errno.Error(), int(expected))
			}
			if errno == unix.EPERM && free[name] == unix.EPERM {
				t.Errorf("%s %s: the answer is the same without a filter", goarch, name)
			}
		}
	}
}

// TestProgramsRun runs programs of the distribution under the default filter:
// ones with threads, with children, with terminals to look for.
func TestProgramsRun(t *testing.T) {
	testenv.NeedsRoot(t)
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte(strings.Repeat("b\na\n", 10000)), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, argv := range map[string][]string{
		"go":      {"go", "version"},
		"ls":      {"ls", "-lR", "/etc/apt"},
		"bash":    {"bash", "-c", "set -e; x=$(echo a | tr a b); [ $x = b ]; read y < <(echo c); (sleep 0.01 & wait)"},
		"perl":    {"perl", "-e", `system("true") == 0 or die; pipe(R, W); fork or exec "true"; wait; exit 0`},
		"threads": {"sort", "--parallel=2", "-S1M", "-u", file},
		"busybox": {"busybox", "sh", "-c", "echo a | cat | wc -l && id && uname -a && stat /"},
		"tar":     {"tar", "-C", "/etc", "-cf", filepath.Join(t.TempDir(), "x.tar"), "apt"},
	} {
		t.Run(name, func(t *testing.T) {
			argv[0] = testenv.NeedsProgram(t, argv[0])
			for _, filter := range []string{
				fmt.Sprintf("default %d", caps.Default),
				"supervisor 0",
				// It kills: nothing here may use a call that the list lacks.
				"retain 0 @rkt/default-whitelist",
			} {
				if out, err := child(t, nil, filter, argv...).CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %.500s", filter, err, out)
				}
			}
		})
	}
}

// TestKill: an explicit list without errno kills.
func TestKill(t *testing.T) {
	testenv.NeedsRoot(t)
	umount := testenv.NeedsProgram(t, "umount")
	var exit *exec.ExitError
	err := child(t, nil, "retain 0 @rkt/default-whitelist", umount, "/nowhere").Run()
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGSYS {
		t.Errorf("umount: %v", err)
	}
	err = child(t, nil, "default 0", umount, "/nowhere").Run()
	if !errors.As(err, &exit) || !exit.Exited() {
		t.Errorf("umount under the default filter: %v", err)
	}
}
