// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/approot"
	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/program"
	"github.com/rkt/rkt/v2/stage1/internal/wire"
)

// Exit statuses of this program, those of systemd (systemd.exec(5)).
const (
	StatusExec  = 203 // the program cannot be executed
	statusMount = 226 // the mount namespace cannot be set up
	statusUser  = 254 // everything else
)

// ExitError carries the exit status of a failed start. The message has been
// given to the supervisor already.
type ExitError int

func (e ExitError) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// Launch becomes the app called by argv[1]; it returns only if that fails.
func Launch(argv []string) error {
	s, err := open(argv)
	if err != nil {
		return report(argv, err)
	}
	if err := failpoint.Hit("launch.started"); err != nil {
		return s.fail(err)
	}
	return s.fail(s.launch())
}

// report tells the person of a failure before anything is known of the app.
func report(argv []string, err error) error {
	if len(argv) == 2 {
		_, _ = wire.Ask("/"+wire.Socket, wire.Request{Kind: wire.Failed, App: argv[1], PID: os.Getpid(), Text: err.Error()}, dialSystemd)
	}
	return err
}

// PostStop runs the handlers of the app called by argv[1] after it has ended.
func PostStop(argv []string) error {
	s, err := open(argv)
	if err != nil {
		return err
	}
	s.kind = wire.Handler
	if err := s.postStop(); err != nil {
		return s.fail(err)
	}
	return nil
}

// start is one start of an app.
type start struct {
	kind wire.Kind
	prof *profile.Profile
	root *inroot.Root
	// streams tells that descriptors 1 and 2 are the app's by now.
	streams bool
}

func open(argv []string) (*start, error) {
	debug.SetGCPercent(-1) // the program ends, or becomes the app, before there is garbage
	if len(argv) != 2 {
		return nil, errors.New("called by hand")
	}
	name, err := appc.NewName(argv[1])
	if err != nil {
		return nil, err
	}
	// Nobody inside the pod may look into this process (ptrace(2), "ptrace
	// access mode checking"). execve makes it an ordinary one again.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("protect this process: %w", err)
	}
	prof, err := profile.ReadFile("/" + poddir.AppProfileFile(name.String()))
	if err != nil {
		return nil, err
	}
	if prof.Start == nil || prof.App != name.String() || len(prof.Start.Exec) == 0 {
		return nil, fmt.Errorf("the profile of app %q is damaged", name)
	}
	unix.Umask(confine.Umask)
	return &start{kind: wire.Start, prof: prof}, nil
}

// fail tells the person and ends this process.
func (s *start) fail(err error) error {
	status := ExitError(statusUser)
	var mount *mountError
	switch {
	case errors.Is(err, confine.ErrExecute), errors.Is(err, errExecute):
		status = StatusExec
	case errors.As(err, &mount):
		status = statusMount
	}
	if s.streams {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return status
	}
	_, _ = wire.Ask("/"+wire.Socket, wire.Request{Kind: wire.Failed, App: s.prof.App, PID: os.Getpid(), Text: err.Error()}, dialSystemd)
	return status
}

// mountError is a failure to set up the file system of the app.
type mountError struct{ err error }

func (e *mountError) Error() string { return "set up the file system: " + e.err.Error() }
func (e *mountError) Unwrap() error { return e.err }

var errExecute = errors.New("cannot execute")

// launch becomes the app, or says why it cannot.
func (s *start) launch() error {
	if err := s.setUp(); err != nil {
		return err
	}
	if err := s.handlers("pre-start", s.prof.Start.PreStart); err != nil {
		return err
	}
	if err := failpoint.Hit("launch.set-up"); err != nil {
		return err
	}
	st := s.prof.Start
	if err := s.checkProgram(st.Exec[0]); err != nil {
		return err
	}
	return s.execute(s.prof, confine.Program{
		WorkDir: st.WorkDir, Path: st.Exec[0], Args: st.Exec[1:], Env: s.environ(), Keep: activated(), Status: StatusExec,
	})
}

func (s *start) postStop() error {
	if err := s.setUp(); err != nil {
		return err
	}
	return s.handlers("post-stop", s.prof.Start.PostStop)
}

// setUp makes the namespace and gets the streams; afterwards this process is
// inside the app's root, under the app's limits, and still root of the pod.
func (s *start) setUp() error {
	if err := s.mount(); err != nil {
		return &mountError{err}
	}
	if err := failpoint.Hit("launch.mounted"); err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	if err := failpoint.Hit("launch.connected"); err != nil {
		return err
	}
	if s.prof.Start.HostPaths {
		if err := unix.Fchdir(s.root.FD()); err != nil {
			return err
		}
		if err := unix.Chroot("."); err != nil {
			return fmt.Errorf("change the root: %w", err)
		}
		return nil
	}
	if err := confine.Pivot(s.root.File()); err != nil {
		return &mountError{err}
	}
	// Slave of the pod, shared inside: what an app that may mount mounts in a
	// namespace of its own below this one still arrives there.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return &mountError{err}
	}
	return nil
}

const (
	hiddenDir  = "/run/systemd/inaccessible/dir"
	hiddenFile = "/run/systemd/inaccessible/reg"
)

// mount fills a mount namespace of the app's own. With insecure option "paths"
// it is the pod's, and what is there already from an earlier start stays.
func (s *start) mount() error {
	st := s.prof.Start
	if !st.HostPaths {
		if err := approot.Isolate(); err != nil {
			return err
		}
	}
	open := approot.Open
	if st.UserShift != 0 {
		open = approot.OpenCopy
	}
	tree, err := open("/" + filepath.Join(poddir.AppRootfs(s.prof.App)))
	if err != nil {
		return err
	}
	s.root = tree.Root()
	if st.HostPaths && tree.HasProc() {
		return nil
	}
	err = tree.Pod(approot.PodAPI{
		KeepSys: st.KeepSys, WholeSys: st.WholeSys,
		ReadOnlyPaths: st.ReadOnlyPaths, HiddenPaths: st.HiddenPaths,
		HiddenDir: hiddenDir, HiddenFile: hiddenFile,
	})
	if err != nil || !st.ReadOnly {
		return err
	}
	return tree.ReadOnly()
}

// checkProgram refuses a program that is reached through a link of procfs, such
// as /proc/self/exe: that is this program, not the image's.
func (s *start) checkProgram(path string) error {
	root, err := inroot.Open("/")
	if err != nil {
		return err
	}
	s.root = root
	if d := program.Diagnose(root, path); d != "" {
		_, _ = os.Stderr.WriteString(d + "\n")
		return fmt.Errorf("%w %q", errExecute, path)
	}
	return nil
}

func (s *start) execute(prof *profile.Profile, prog confine.Program) error {
	err := confine.Exec(prof, prog)
	if errors.Is(err, confine.ErrExecute) && s.root != nil {
		if d := program.Diagnose(s.root, prog.Path); d != "" {
			_, _ = os.Stderr.WriteString(d + "\n")
		}
	}
	return err
}

// passed are the variables of the service manager that the app sees.
var passed = [...]string{"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "INVOCATION_ID", "WATCHDOG_USEC", "WATCHDOG_PID"}

func (s *start) environ() []string {
	env := s.prof.Environment[:len(s.prof.Environment):len(s.prof.Environment)]
	for _, name := range passed {
		v, ok := os.LookupEnv(name)
		if ok && !hasName(s.prof.Environment, name) {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func hasName(env []string, name string) bool {
	for _, kv := range env {
		if strings.HasPrefix(kv, name+"=") {
			return true
		}
	}
	return false
}

// activated are the descriptors of socket activation (sd_listen_fds(3)).
func activated() []int {
	const first, most = 3, 1024
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > most {
		return nil
	}
	fds := make([]int, 0, n)
	for fd := first; fd < first+n; fd++ {
		fds = append(fds, fd)
	}
	return fds
}
