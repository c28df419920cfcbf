// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/caps"
)

// A child of the test joins the cgroups of groupsEnv, loads the filter of
// filterEnv and executes its arguments.
const (
	childEnv  = "RKT_SECCOMP_TEST_CHILD"
	groupsEnv = "RKT_SECCOMP_TEST_GROUPS" // directories, separated by :
	filterEnv = "RKT_SECCOMP_TEST_FILTER" // default, supervisor or retain; capabilities as a number; names of calls
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	if err := childExec(); err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
	}
	os.Exit(99)
}

func childExec() error {
	runtime.LockOSThread()
	for _, dir := range filepath.SplitList(os.Getenv(groupsEnv)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	prog, err := childFilter(strings.Fields(os.Getenv(filterEnv)))
	if err != nil {
		return err
	}
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, childEnv+"=") {
			env = append(env, e)
		}
	}
	argv, err := syscall.SlicePtrFromStrings(os.Args[1:])
	if err != nil {
		return err
	}
	envv, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	if err := prog.Load(); err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(argv[0])), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envv[0])))
	return errno
}

func childFilter(words []string) (Program, error) {
	if len(words) == 0 {
		return nil, nil
	}
	kept, err := strconv.ParseUint(words[1], 0, 64)
	if err != nil {
		return nil, err
	}
	switch words[0] {
	case "supervisor":
		return Supervisor(caps.Set(kept), words[2:])
	case "retain":
		p, err := NewPolicy(Retain, words[2:], "")
		if err != nil {
			return nil, err
		}
		return p.Compile()
	}
	return Default(caps.Set(kept)).Compile()
}

// child is a command under a filter.
func child(t *testing.T, groups []string, filter string, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", argv...)
	cmd.Env = append(os.Environ(), childEnv+"=1", groupsEnv+"="+strings.Join(groups, ":"), filterEnv+"="+filter)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return cmd
}
