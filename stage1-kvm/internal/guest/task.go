// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/agent"
)

// Programs that the host may ask for, by their names in stage1.
const (
	ProgramRun   = "init"
	ProgramEnter = "enter"
)

func programs() []string {
	return []string{ProgramRun, ProgramEnter, "app_start", "app_stop", "attach"}
}

// leaderPatience is how long a pod may take to say which process is its PID 1.
const leaderPatience = 30 * time.Second

// run runs a program of stage1 for the host.
func (s *server) run(t *agent.Task) {
	r, err := s.execute(t)
	if err != nil {
		r = agent.Result{Code: statusFailed, Error: err.Error()}
	}
	_ = t.End(r)
}

const statusFailed = 254

func (s *server) execute(t *agent.Task) (agent.Result, error) {
	cmd, err := s.command(t.Command)
	if err != nil {
		return agent.Result{}, errors.Join(err, t.Output(1).Close(), t.Output(2).Close())
	}
	var end func()
	if t.Command.TTY {
		end, err = startTTY(cmd, t)
	} else {
		end, err = startPipes(cmd, t)
	}
	if err != nil {
		return agent.Result{}, errors.Join(err, t.Output(1).Close(), t.Output(2).Close())
	}
	err = cmd.Wait()
	end()
	return resultOf(cmd, err)
}

// command is what is executed for an order of the host.
func (s *server) command(c agent.Command) (*exec.Cmd, error) {
	if !slices.Contains(programs(), c.Program) {
		return nil, fmt.Errorf("%q is no program for a virtual machine", c.Program)
	}
	cmd := exec.Command(filepath.Join(PodDir, poddir.Stage1Rootfs, c.Program)) //nolint:gosec // one of a list
	cmd.Dir = PodDir
	cmd.Args = append([]string{cmd.Path}, c.Args...)
	cmd.Env = append(c.Env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if c.Program == ProgramRun {
		cmd.ExtraFiles = []*os.File{s.lock} // descriptor 3
		cmd.Env = append(cmd.Env, "RKT_LOCK_FD=3")
		return cmd, nil
	}
	leader, err := awaitLeader()
	if err != nil {
		return nil, err
	}
	for _, list := range [][]string{cmd.Args, cmd.Env} {
		for i := range list {
			list[i] = strings.ReplaceAll(list[i], agent.LeaderArg, leader)
		}
	}
	return cmd, nil
}

// awaitLeader is the process ID of the pod's PID 1, when the pod has told it.
func awaitLeader() (string, error) {
	const pace = 10 * time.Millisecond
	for end := time.Now().Add(leaderPatience); ; time.Sleep(pace) {
		data, err := os.ReadFile(filepath.Join(PodDir, poddir.PID))
		if err == nil {
			return strings.TrimSpace(string(data)), nil
		}
		if time.Now().After(end) {
			return "", errors.New("the pod has not started")
		}
	}
}

// startPipes starts a program with three pipes; the function it returns waits
// until everything that was written has been sent.
func startPipes(cmd *exec.Cmd, t *agent.Task) (end func(), err error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	var readers, writers [2]*os.File
	for i := range readers {
		if readers[i], writers[i], err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	cmd.Stdout, cmd.Stderr = writers[0], writers[1]
	err = cmd.Start()
	_ = writers[0].Close()
	_ = writers[1].Close()
	if err != nil {
		return nil, err
	}
	go func() {
		_ = t.CopyInput(stdin)
		_ = stdin.Close()
	}()
	go t.Control(signaller(cmd), func(uint16, uint16) {})
	var copies sync.WaitGroup
	for i, r := range readers {
		copies.Go(func() { send(t, i+1, r) })
	}
	return copies.Wait, nil
}

// send sends what a program writes to one of its streams.
func send(t *agent.Task, stream int, r *os.File) {
	out := t.Output(stream)
	buf := make([]byte, 32<<10)
	_, _ = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{r}, buf)
	_ = r.Close()
	_ = out.Close()
}

func signaller(cmd *exec.Cmd) func(int) {
	return func(sig int) { _ = cmd.Process.Signal(syscall.Signal(sig)) }
}

func resultOf(cmd *exec.Cmd, err error) (agent.Result, error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return agent.Result{}, err
	}
	ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return agent.Result{Signal: int(ws.Signal())}, nil
	}
	return agent.Result{Code: cmd.ProcessState.ExitCode()}, nil
}

// startTTY starts a program with a terminal.
func startTTY(cmd *exec.Cmd, t *agent.Task) (end func(), err error) {
	master, slave, err := openTTY()
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	resize := func(rows, cols uint16) {
		_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	}
	resize(t.Command.Rows, t.Command.Cols)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, 0
	err = cmd.Start()
	_ = slave.Close()
	if err != nil {
		return nil, errors.Join(err, master.Close())
	}
	go func() { _ = t.CopyInput(master) }()
	go t.Control(signaller(cmd), resize)
	done := make(chan struct{})
	go func() {
		send(t, 1, master)
		_ = t.Output(2).Close()
		close(done)
	}()
	return func() { <-done }, nil
}

// openTTY opens a pair of the machine's own.
func openTTY() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, slave, nil
}
