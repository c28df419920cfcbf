// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/agent"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/guest"
)

// Enter runs a command in an app of the pod, as enter of stage1-coreos does: it
// is that program, inside the guest.
func Enter(argv []string) error {
	e, err := entrypoint.ParseEnter(argv)
	if err != nil {
		return err
	}
	args := []string{"--pid=" + agent.LeaderArg}
	if e.App != "" {
		args = append(args, "--appname="+e.App)
	}
	cmd := agent.Command{
		Program: guest.ProgramEnter, Args: append(append(args, "--"), e.Cmd...), Env: []string{"TERM=" + os.Getenv("TERM")},
	}
	signals := make(chan os.Signal, 16)
	events := make(chan event, 16)
	passed := []os.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH}
	if saved, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		cmd.TTY = true
		if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
			cmd.Rows, cmd.Cols = size.Row, size.Col
		}
		setRaw(saved)
		defer func() { _ = unix.IoctlSetTermios(0, unix.TCSETS, saved) }()
	} else {
		passed = append(passed, unix.SIGINT, unix.SIGQUIT)
	}
	signal.Notify(signals, passed...)
	go forward(signals, events)
	r, err := ask(cmd, events)
	switch {
	case err != nil:
		return err
	case r.Error != "":
		return errors.New(r.Error)
	case r.Signal != 0:
		const bySignal = 128
		return StatusError(bySignal + r.Signal)
	case r.Code != 0:
		return StatusError(r.Code)
	}
	return nil
}

// forward makes events of signals.
func forward(signals <-chan os.Signal, events chan<- event) {
	for sig := range signals {
		if sig == unix.SIGWINCH {
			if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
				events <- event{Rows: size.Row, Cols: size.Col}
			}
			continue
		}
		if s, ok := sig.(syscall.Signal); ok {
			events <- event{Signal: byte(s)}
		}
	}
}
