// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/agent"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/guest"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/hypervisor"
)

// How long the supervisor waits for what should happen at once, and for a
// kernel to boot in software on a busy machine.
const (
	endPatience  = 10 * time.Second
	bootPatience = 120 * time.Second
)

// statusSetup is the exit status of a pod whose machine has failed.
const statusSetup = 1

// StatusError is the exit status of a pod that has run, or of a command.
type StatusError int

func (e StatusError) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// Run is the run entrypoint. It returns when the pod has ended.
func Run(argv []string) error {
	p, err := load(argv)
	if err != nil {
		return err
	}
	defer p.dropNet()
	call, err := p.prepare()
	if err != nil {
		return err
	}
	defer p.releasePorts()
	defer func() { _ = p.cgroup.Restore() }()
	s := &supervisor{pod: p, stopping: make(chan struct{}), served: make(chan struct{})}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH)
	if !signal.Ignored(unix.SIGHUP) { // nohup(1)
		signal.Notify(signals, unix.SIGHUP)
	}
	signal.Ignore(unix.SIGPIPE)
	if s.machine, err = p.startMachine(call); err != nil {
		return err
	}
	go s.signals(signals)
	return s.run()
}

// prepare puts everything together that the machine needs.
func (p *pod) prepare() (call hypervisor.Machine, err error) {
	steps := []func() error{writeSupervisor, p.makeCgroup, p.startNet, p.makeShares, p.joinNet, p.writeConfig}
	for _, step := range steps {
		if err := step(); err != nil {
			return call, err
		}
	}
	var apps []*isolator.Plan
	for i := range p.plan.Apps {
		apps = append(apps, p.plan.Apps[i].Limits)
	}
	call = hypervisor.Machine{Size: hypervisor.SizeOf(apps, p.plan.Limits, runtime.NumCPU()), Debug: p.call.Debug}
	var warning string
	call.Accel, warning, err = hypervisor.Choose(p.tree())
	if warning != "" {
		say("%s", warning)
	}
	return call, err
}

// supervisor is the supervisor of a running machine.
type supervisor struct {
	pod      *pod
	machine  *machine
	host     *agent.Host
	stopping chan struct{} // closed by the first signal to end
	served   chan struct{} // closed when the guest is not listened to any more
	serveErr error         // valid then
	main     mainSession
}

// signals ends the pod in order, or at once if it has not begun.
func (s *supervisor) signals(signals <-chan os.Signal) {
	stopped := false
	for sig := range signals {
		switch {
		case sig == unix.SIGWINCH:
			s.main.resize()
		case !stopped:
			stopped = true
			close(s.stopping)
		}
	}
}

// run brings the guest up, runs stage1-coreos in it, and stays until it ends.
func (s *supervisor) run() error {
	s.host = agent.NewHost(s.machine.agent)
	go func() {
		s.serveErr = s.host.Serve()
		close(s.served)
	}()
	err := s.bringUp()
	if errors.Is(err, errStopped) {
		s.end(false)
		return nil
	}
	if err != nil {
		s.end(false)
		return err
	}
	return s.supervise()
}

// errStopped says that somebody wants the pod to end before it has begun.
var errStopped = errors.New("stopped")

func (s *supervisor) bringUp() error {
	deadline := time.After(bootPatience)
	if err := s.await(s.host.Hello(), deadline); err != nil {
		return err
	}
	setup, err := s.pod.setup()
	if err != nil {
		return err
	}
	if err := s.host.Setup(setup); err != nil {
		return s.died()
	}
	return s.await(s.host.Ready(), deadline)
}

// await waits for a step of the guest.
func (s *supervisor) await(step <-chan struct{}, deadline <-chan time.Time) error {
	select {
	case <-step:
		return nil
	case <-s.stopping:
		return errStopped
	case <-s.served:
		return s.died()
	case <-deadline:
		return fmt.Errorf("the virtual machine has not started within %s: %s", bootPatience, s.machine.console.text())
	}
}

// died says why there is no machine any more.
func (s *supervisor) died() error {
	select {
	case <-s.served:
	case <-time.After(endPatience):
	}
	if s.serveErr != nil {
		return s.serveErr
	}
	select {
	case <-s.machine.done:
	case <-time.After(endPatience):
	}
	how := "it has closed its connection"
	if state := s.machine.qemu.ProcessState; state != nil {
		how = state.String()
	}
	if text := s.machine.console.text(); text != "" {
		how += "; its last words: " + text
	}
	return fmt.Errorf("the virtual machine has ended: %s", how)
}

// supervise runs stage1-coreos in the guest.
func (s *supervisor) supervise() error {
	cmd := agent.Command{Program: guest.ProgramRun, Args: s.pod.guestArgs(), Env: []string{"TERM=" + os.Getenv("TERM")}}
	if err := s.main.open(s.host, cmd, s.pod.call.Interactive); err != nil {
		s.end(false)
		return err
	}
	defer s.main.restore()
	// From now on there is somebody to enter.
	if err := atomicfile.WriteNoSync(poddir.PID, []byte(strconv.Itoa(s.machine.qemu.Process.Pid)+"\n"), 0o644); err != nil {
		s.end(false)
		return err
	}
	stop, err := s.listen()
	if err != nil {
		s.end(false)
		return err
	}
	defer stop()
	go func() {
		<-s.stopping
		_ = s.main.session.Signal(byte(unix.SIGTERM))
	}()
	result, err := s.main.wait()
	if err != nil {
		err := s.died()
		s.end(false)
		say("stage1: the virtual machine has ended before the apps of the pod: %v", err)
		return StatusError(statusSetup)
	}
	s.end(true)
	switch {
	case result.Error != "":
		return fmt.Errorf("start the pod inside the virtual machine: %s", result.Error)
	case result.Signal != 0:
		return fmt.Errorf("the supervisor inside the virtual machine was killed by signal %d", result.Signal)
	case result.Code != 0:
		return StatusError(result.Code)
	}
	return nil
}

// end ends the machine: in order, so that what its kernel has to write is
// written, or at once.
func (s *supervisor) end(orderly bool) {
	if orderly {
		go func() { _ = s.host.Off() }()
		select {
		case <-s.machine.done:
		case <-time.After(endPatience):
			say("stage1: the virtual machine does not power off: it is killed")
		}
	}
	_ = s.machine.qemu.Process.Kill()
	select {
	case <-s.machine.done:
	case <-time.After(endPatience):
		say("stage1: qemu does not end")
	}
	_ = s.machine.agent.Close()
	_ = s.machine.daemon.Process.Kill()
}

// setup is what the guest makes ready.
func (p *pod) setup() (agent.Pod, error) {
	m := *p.manifest
	m.Ports = nil // the host forwards them
	data, err := m.Marshal()
	if err != nil {
		return agent.Pod{}, err
	}
	answer, err := p.net.answer()
	if err != nil {
		return agent.Pod{}, err
	}
	out := agent.Pod{UUID: p.call.UUID.String(), Manifest: data, Answer: answer, Files: hostFiles()}
	for _, c := range p.net.cards {
		out.Interfaces = append(out.Interfaces, c.as)
	}
	return out, nil
}

// hostFiles are those of the host that a pod may be given: names and the time
// zone. What cannot be read is not there.
func hostFiles() map[string][]byte {
	const maxSize = 1 << 20
	files := map[string][]byte{}
	for _, name := range []string{"/etc/hosts", "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/etc/localtime"} {
		path, err := filepath.EvalSymlinks(name)
		if err != nil {
			continue
		}
		if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() || st.Size() > maxSize {
			continue
		}
		if data, err := os.ReadFile(path); err == nil {
			files[name] = data
		}
	}
	return files
}

// guestArgs is how stage1-coreos is called inside: as this program was, but for
// what belongs to the host.
func (p *pod) guestArgs() []string {
	r := p.call
	r.LocalConfig, r.MDSToken, r.IPC = "", "", ""
	argv, _ := r.Argv(entrypoint.CurrentVersion)
	return argv[1:]
}
