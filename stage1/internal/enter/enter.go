// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appenv"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/program"
	"github.com/rkt/rkt/v2/pkg/seccomp"
	"github.com/rkt/rkt/v2/stage1/internal/inside"
)

// InsideName is what the inner process calls itself.
const InsideName = "enter-inside"

// defaultTerm is the terminal type of a caller that has none.
const defaultTerm = "vt100"

// appPatience is how long a pod that is starting may take to start an app.
const appPatience = 10 * time.Second

// StatusError is the exit status of the command.
type StatusError int

func (e StatusError) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// order is what the outer process tells the inner one.
type order struct {
	Profile json.RawMessage // absent: the context of the pod's supervisor
	Cmd     []string
	Term    string
	PodCaps caps.Set
	Calls   []string
}

// Enter runs a command in an app of the pod, or beside its supervisor. The
// working directory is the pod's.
func Enter(argv []string) error {
	e, err := entrypoint.ParseEnter(argv)
	if err != nil {
		return err
	}
	if err := inside.Seal(argv, []string{"TERM=" + os.Getenv("TERM")}); err != nil {
		return err
	}
	t, err := findTarget(e)
	if err != nil {
		return err
	}
	namespaces, err := inside.Open(t.pid, t.proc.StartTime)
	if err != nil {
		return err
	}
	self, err := inside.SealedCopy()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	o := order{Cmd: e.Cmd, Term: os.Getenv("TERM"), PodCaps: caps.All}
	if t.prof != nil {
		o.Profile, o.PodCaps, o.Calls = t.prof.Marshal(), t.prof.Start.PodCaps, t.prof.Start.PodCalls
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	go func() { _, _ = w.Write(data); _ = w.Close() }()
	return t.run(r, self, namespaces, o)
}

// target is where the command goes.
type target struct {
	pid  int
	app  string
	prof *profile.Profile
	proc profile.Process
}

func findTarget(e entrypoint.Enter) (*target, error) {
	t := &target{pid: e.PID, app: e.App}
	if e.App == "" {
		start, err := profile.StartTime(e.PID)
		t.proc = profile.Process{PID: e.PID, StartTime: start}
		return t, err
	}
	var err error
	if t.prof, err = profile.ReadFile(poddir.AppHost(e.App)); err != nil {
		return nil, fmt.Errorf("what is app %q held to: %w", e.App, err)
	}
	if t.prof.Start == nil {
		return nil, fmt.Errorf("the profile of app %q is damaged", e.App)
	}
	deadline := time.Now().Add(appPatience)
	for {
		t.proc, err = profile.ReadProcess(poddir.AppProcess(e.App))
		if err == nil {
			t.pid = t.proc.PID
			return t, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || t.hasEnded(e.PID) || time.Now().After(deadline) {
			return nil, fmt.Errorf("app %q is not running", e.App)
		}
		const pace = 20 * time.Millisecond
		time.Sleep(pace)
	}
}

// hasEnded tells whether the app has an exit status, or the pod is gone.
func (t *target) hasEnded(leader int) bool {
	root := "/proc/" + strconv.Itoa(leader) + "/root/"
	if _, err := os.Lstat(root); err != nil {
		return true
	}
	_, err := os.Lstat(root + poddir.AppStatus(t.app))
	return err == nil
}

// run starts the inner process and stands for it: signals, stops and the exit
// status pass through.
func (t *target) run(r, self *os.File, namespaces inside.Namespaces, o order) error {
	keep := []*os.File{r}
	for _, dir := range t.proc.Cgroups {
		f, err := cgroup.OpenProcs(dir)
		if err != nil {
			return err
		}
		keep = append(keep, f)
	}
	pid, err := inside.Start(inside.Child{
		Program: self, Namespaces: namespaces, Keep: keep, Caps: o.PodCaps, Name: InsideName,
	})
	if err != nil {
		return fmt.Errorf("enter the pod: %w", err)
	}
	_ = r.Close()
	return follow(pid)
}

// follow waits for the inner process as a shell would see the command itself.
func follow(pid int) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT)
	signal.Ignore(unix.SIGINT, unix.SIGQUIT, unix.SIGTTOU) // the terminal sends them to the command, too
	go func() {
		for sig := range signals {
			if s, ok := sig.(syscall.Signal); ok {
				_ = unix.Kill(pid, s)
			}
		}
	}()
	for {
		var ws unix.WaitStatus
		_, err := unix.Wait4(pid, &ws, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the command: %w", err)
		case ws.Stopped():
			_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
			_ = unix.Kill(pid, unix.SIGCONT)
		case ws.Signaled():
			return dieOf(ws.Signal())
		case ws.Exited():
			if ws.ExitStatus() == 0 {
				return nil
			}
			return StatusError(ws.ExitStatus())
		}
	}
}

// dieOf ends this process as the command has ended.
func dieOf(sig unix.Signal) error {
	signal.Reset(sig)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Kill(os.Getpid(), sig)
	time.Sleep(time.Second)
	return StatusError(128 + int(sig))
}

// Inside becomes the command, in the namespaces of the pod.
func Inside(argv []string) error {
	files, err := inside.Kept(argv)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(files[0], profile.MaxSize))
	if err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	_ = files[0].Close()
	var o order
	if err := json.Unmarshal(data, &o); err != nil || len(o.Cmd) == 0 {
		return fmt.Errorf("read the order: damaged: %w", err)
	}
	if o.Profile == nil {
		return beside(o)
	}
	prof, err := profile.Parse(o.Profile)
	if err != nil {
		return err
	}
	return become(prof, o, files[1:])
}

// become becomes the command in the app's root. The mount namespace that was
// joined has it as its root, unless it is the pod's own (insecure option paths).
//
// It joins the app's cgroups last: their limits are the app's, and what this
// program still needs, memory and threads, is not the app's to pay for.
func become(prof *profile.Profile, o order, cgroups []*os.File) error {
	if prof.Start.HostPaths {
		if err := unix.Chroot("/" + poddir.AppRootfs(prof.App)); err != nil {
			return fmt.Errorf("change the root: %w", err)
		}
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	root, err := inroot.Open("/")
	if err != nil {
		return err
	}
	file, err := find(root, o.Cmd[0], prof.Environment)
	if err != nil {
		_, _ = os.Stderr.WriteString("Error: " + program.UnableToOpen(o.Cmd[0], unix.ENOENT) + "\n")
		return err
	}
	if d := program.Diagnose(root, file); d != "" {
		_, _ = os.Stderr.WriteString(d + "\n")
		return fmt.Errorf("cannot execute %q", file)
	}
	filter, err := seccomp.Supervisor(o.PodCaps, o.Calls)
	if err != nil {
		return err
	}
	if err := filter.Load(); err != nil { // as everything in the pod has it
		return err
	}
	held := *prof
	held.Cgroups = nil // by descriptor: nothing in here names them
	if err := cgroup.JoinProcs(cgroups); err != nil {
		return err
	}
	return confine.Exec(&held, confine.Program{WorkDir: "/", Path: file, Args: o.Cmd[1:], Env: environ(prof.Environment, o.Term)})
}

// beside becomes a command of stage1 itself, as its entrypoints use it.
func beside(o order) error {
	file := o.Cmd[0]
	if !strings.HasPrefix(file, "/") {
		root, err := inroot.Open("/")
		if err != nil {
			return err
		}
		if file, err = program.Find(root, file, "/", "/usr/bin:/usr/sbin:/bin"); err != nil {
			return err
		}
	}
	env := environ([]string{"PATH=" + entrypoint.DefaultPath}, o.Term)
	return fmt.Errorf("execute %q: %w", file, unix.Exec(file, o.Cmd, env))
}

func find(root *inroot.Root, name string, env []string) (string, error) {
	if name == "" {
		return "", errors.New("empty command")
	}
	list := appenv.DefaultPath
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			list = v
		}
	}
	return program.Find(root, name, "/", list)
}

// environ is the app's environment with the terminal type of the caller.
func environ(env []string, term string) []string {
	if term == "" {
		term = defaultTerm
	}
	out := make([]string, 0, len(env)+1)
	for _, kv := range env {
		if !strings.HasPrefix(kv, "TERM=") {
			out = append(out, kv)
		}
	}
	return append(out, "TERM="+term)
}
