// SPDX-License-Identifier: Apache-2.0

// Package confine turns the calling thread into the app: it applies a profile
// in the one order that works and executes the program. run, hooks and enter
// go through the same function, so none of them is confined less.
//
// The caller has locked the goroutine to its thread. Credentials, capabilities
// and the filter are set on that thread alone, with raw system calls; execve
// makes it the only one.
//
// Order: cgroup, resource limits and OOM score while still root and outside;
// chroot, working directory; bounding set (needs CAP_SETPCAP); groups, user;
// no-new-privileges; filter; execve. A root app keeps its effective set up to
// execve, which is what lets it load a filter without no-new-privileges, and
// gets what the bounding set leaves there.
package confine

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

// listenStart is the first descriptor of socket activation (sd_listen_fds(3)).
const listenStart = 3

// ErrExecute is wrapped by Exec when everything but execve has worked.
var ErrExecute = errors.New("cannot execute")

// statusFailed is the exit status when nothing can be printed any more.
const statusFailed = 254

// Program is what to execute.
type Program struct {
	Root    *os.File // becomes "/"; nil: the root stays as it is
	Pivot   bool     // Root becomes the root of the mount namespace, the old one goes
	WorkDir string   // inside Root
	Path    string   // absolute, inside Root; also argv[0]
	Args    []string // without argv[0]
	Env     []string
	// Keep are descriptors above 2 that the program gets.
	Keep []int
	// Status is the exit status if the program cannot be executed and a filter is
	// in force already; 0: that of every failure of rkt.
	Status int
}

// Umask is the file mode mask of every app.
const Umask = 0o022

// Exec applies the profile and executes the program. It returns only if that
// failed; the process is then good for nothing but printing the error.
func Exec(p *profile.Profile, prog Program) error {
	if err := Join(p); err != nil {
		return err
	}
	if err := enterRoot(prog); err != nil {
		return err
	}
	if err := label(p.Label); err != nil {
		return err
	}
	if err := keepOnly(prog.Keep); err != nil {
		return err
	}
	filter, err := compile(p)
	if err != nil {
		return err
	}
	if err := drop(p); err != nil {
		return err
	}
	return execute(p, prog, filter)
}

// Join puts the process under the limits that do not depend on its root.
func Join(p *profile.Profile) error {
	unix.Umask(Umask)
	if err := resetLibrarySignals(); err != nil {
		return err
	}
	for resource, l := range p.Rlimits {
		if err := setRlimit(resource, l); err != nil {
			return fmt.Errorf("set resource limit %d: %w", resource, err)
		}
	}
	if p.OOMScoreAdj != nil {
		if err := AdjustOOMScore(*p.OOMScoreAdj); err != nil {
			return err
		}
	}
	return cgroup.Join(p.Cgroups)
}

// AdjustOOMScore sets the OOM score adjustment of this process.
func AdjustOOMScore(n int64) error {
	if err := os.WriteFile("/proc/self/oom_score_adj", strconv.AppendInt(nil, n, 10), 0); err != nil {
		return fmt.Errorf("set OOM score adjustment: %w", err)
	}
	return nil
}

// setRlimit sets a limit. Where this process may not raise its own hard limit,
// the tighter one stays.
func setRlimit(resource int, want profile.Rlimit) error {
	err := unix.Setrlimit(resource, &unix.Rlimit{Cur: want.Cur, Max: want.Max})
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	var own unix.Rlimit
	if err := unix.Getrlimit(resource, &own); err != nil {
		return err
	}
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: min(want.Cur, own.Max), Max: own.Max})
}

// Rlimits returns the resource limits of the calling process. The Go runtime
// has raised the soft limit of open files at start; the caller's own value is
// put back first.
func Rlimits() ([]profile.Rlimit, error) {
	restoreFileLimit()
	const count = 16 // RLIM_NLIMITS
	limits := make([]profile.Rlimit, count)
	for i := range limits {
		var l unix.Rlimit
		if err := unix.Getrlimit(i, &l); err != nil {
			return nil, fmt.Errorf("get resource limit %d: %w", i, err)
		}
		limits[i] = profile.Rlimit{Cur: l.Cur, Max: l.Max}
	}
	return limits, nil
}

// restoreFileLimit undoes the runtime's change of RLIMIT_NOFILE. Only
// syscall.Exec knows the old value, and it restores it before it tries; so let
// it try what cannot succeed.
func restoreFileLimit() { _ = syscall.Exec("", nil, nil) }

func enterRoot(prog Program) error {
	if prog.Root != nil {
		change := unix.Chroot
		if prog.Pivot {
			change = pivot
		}
		if err := unix.Fchdir(int(prog.Root.Fd())); err != nil {
			return fmt.Errorf("change to the root of the app: %w", err)
		}
		if err := change("."); err != nil {
			return fmt.Errorf("change the root: %w", err)
		}
	}
	if err := workDir(prog.WorkDir); err != nil {
		return fmt.Errorf("can't change to working directory %q: %w", prog.WorkDir, err)
	}
	return ownFile(prog.Path)
}

// ownFile refuses a program that is reached through a link of procfs, such as
// /proc/self/exe: that is this program, not the app's (CVE-2019-5736). What else
// may be wrong with the program is for execve to say.
func ownFile(path string) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if errors.Is(err, unix.ELOOP) {
		return fmt.Errorf("%w %q: it leads through a link that is no file of the app", ErrExecute, path)
	}
	if err == nil {
		_ = unix.Close(fd)
	}
	return nil
}

// workDir changes the working directory. It does not follow links of procfs,
// which lead to wherever a descriptor of this process is open (CVE-2024-21626).
func workDir(dir string) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, dir, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return err
	}
	return errors.Join(unix.Fchdir(fd), unix.Close(fd))
}

// Pivot makes a directory, which is a mount point, the root of the calling
// thread's mount namespace. Nothing else stays mounted there, so that no chroot
// of the app's own leads out (pivot_root(2), last section of the notes).
func Pivot(dir *os.File) error {
	if err := unix.Fchdir(int(dir.Fd())); err != nil {
		return fmt.Errorf("change to the root of the app: %w", err)
	}
	return pivot(".")
}

func pivot(dir string) error {
	if err := unix.PivotRoot(dir, dir); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the old root: %w", err)
	}
	return unix.Chdir("/")
}

// keepOnly leaves the program its standard streams and what is in keep.
func keepOnly(keep []int) error {
	if err := unix.CloseRange(listenStart, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
	}
	for _, fd := range keep {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("keep descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// label makes the next execve of this thread enter an SELinux domain.
func label(context string) error {
	if context == "" {
		return nil
	}
	if err := os.WriteFile("/proc/thread-self/attr/exec", []byte(context), 0); err != nil {
		return fmt.Errorf("SELinux label %q: %w", context, err)
	}
	return nil
}

// drop gives up every privilege the app is not to have.
func drop(p *profile.Profile) error {
	// Under securebits of the caller's a change of user would leave them.
	if err := errors.Join(caps.ClearAmbient(), caps.ClearInheritable()); err != nil {
		return err
	}
	if p.Bounding != nil {
		if err := caps.Bound(*p.Bounding); err != nil {
			return err
		}
	}
	groups := make([]uint32, 0, len(p.Groups)+1)
	for _, g := range append([]int{p.GID}, p.Groups...) {
		groups = append(groups, uint32(g))
	}
	gid, uid := uintptr(uint32(p.GID)), uintptr(uint32(p.UID))
	// Raw calls change this thread only. Those of package syscall would stop
	// every thread of the process to change them all.
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0); e != 0 {
		return fmt.Errorf("set groups %v: %w", groups, e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); e != 0 {
		return fmt.Errorf("set group %d: %w", p.GID, e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); e != 0 {
		return fmt.Errorf("set user %d: %w", p.UID, e)
	}
	if p.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no-new-privileges: %w", err)
		}
	}
	return nil
}

// loader is a compiled system call filter.
type loader interface{ Load() error }

func compile(p *profile.Profile) (loader, error) {
	if p.Seccomp == nil || p.Seccomp.Unfiltered {
		return nil, nil
	}
	prog, err := p.Seccomp.Compile()
	if err != nil {
		return nil, fmt.Errorf("system call filter: %w", err)
	}
	return prog, nil
}

func execute(p *profile.Profile, prog Program, filter loader) error {
	argv := append([]string{prog.Path}, prog.Args...)
	if filter == nil {
		return fmt.Errorf("%w %q: %w", ErrExecute, prog.Path, syscall.Exec(prog.Path, argv, prog.Env))
	}
	path, err1 := unix.BytePtrFromString(prog.Path)
	args, err2 := syscall.SlicePtrFromStrings(argv)
	env, err3 := syscall.SlicePtrFromStrings(prog.Env)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return fmt.Errorf("%w %q: %w", ErrExecute, prog.Path, err)
	}
	text := fmt.Sprintf("%v %q: ", ErrExecute, prog.Path)
	if !mayWrite(p.Seccomp) {
		text = ""
	}
	status, pid := uintptr(prog.Status), uintptr(os.Getpid())
	if status == 0 {
		status = statusFailed
	}
	if err := filter.Load(); err != nil {
		return err
	}
	// From here on the thread may do what the filter allows and nothing else:
	// no allocation, no scheduler.
	_, _, e := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])))
	if text != "" {
		complain(text)
		complain(e.Error()) // out of a table
		complain("\n")
	}
	for { // until one of them is allowed
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, status, 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_KILL, pid, uintptr(unix.SIGKILL), 0)
		runtime.KeepAlive(prog)
	}
}

// mayWrite tells whether a filter lets a process write to what is open.
func mayWrite(p *seccomp.Policy) bool {
	return slices.Contains(p.Calls, "write") == (p.Mode == seccomp.Retain)
}

// complain writes to standard error.
func complain(text string) {
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, 2, uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(len(text)))
}
