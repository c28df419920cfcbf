// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/pod"
)

// AttachConfig says what to attach to.
type AttachConfig struct {
	Env
	App   string    // empty: the only one
	Mode  string    // see ParseAttachMode
	Stdin io.Reader // an *os.File is handed on as it is
}

// Attach connects the standard streams of this process with those of an app, or
// lists what there is to attach to, and returns when stage1's program has ended.
func Attach(ctx context.Context, p *pod.Pod, c AttachConfig) error {
	call, err := ParseAttachMode(c.Mode)
	if err != nil {
		return fmt.Errorf("invalid attach mode: %w", err)
	}
	if p.State() != pod.Running {
		return fmt.Errorf("pod %q isn't currently running", p.UUID())
	}
	pid, err := p.WaitInitPID(ctx)
	if err != nil {
		return fmt.Errorf("unable to determine the pid for pod %q: %w", p.UUID(), err)
	}
	m, err := p.Manifest()
	if err != nil {
		return err
	}
	app, err := c.chooseApp(m, c.App, "attach")
	if err != nil {
		return fmt.Errorf("unable to determine app name: %w", err)
	}
	prog, err := c.crossing(ctx, p, pid, entrypoint.AnnotationAttach)
	if err != nil {
		return err
	}
	call.Path, call.App, call.Debug = prog.prog.name, app.String(), c.Debug
	cmd := prog.command(ctx, call.Argv())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.stdout(), c.stderr()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("error executing stage1 entrypoint: %w", err)
	}
	return nil
}

// Words of an attach mode.
const (
	attachAuto = "auto"
	attachList = "list"
	attachTTY  = "tty" // both directions
)

// ParseAttachMode reads the value of --mode: "list", "auto" or nothing for all
// there is, or a comma separated list of stdin, stdout and stderr, or of tty,
// tty-in and tty-out.
func ParseAttachMode(mode string) (entrypoint.Attach, error) {
	switch mode {
	case "", attachAuto:
		return entrypoint.Attach{Action: entrypoint.AttachAuto}, nil
	case attachList:
		return entrypoint.Attach{Action: entrypoint.AttachList}, nil
	}
	a := entrypoint.Attach{Action: entrypoint.AttachCustom}
	for word := range strings.SplitSeq(mode, ",") {
		switch word {
		case attachTTY:
			a.TTYIn, a.TTYOut = true, true
		case "tty-in":
			a.TTYIn = true
		case "tty-out":
			a.TTYOut = true
		case "stdin":
			a.Stdin = true
		case "stdout":
			a.Stdout = true
		case "stderr":
			a.Stderr = true
		case "":
		default:
			return entrypoint.Attach{}, fmt.Errorf("unknown endpoint %q", word)
		}
	}
	tty, streams := a.TTYIn || a.TTYOut, a.Stdin || a.Stdout || a.Stderr
	switch {
	case tty && streams:
		return entrypoint.Attach{}, fmt.Errorf("incompatible endpoints %q, cannot simultaneously attach TTY and streams", mode)
	case !tty && !streams:
		return entrypoint.Attach{}, errors.New("mode must specify at least one endpoint to attach")
	}
	return a, nil
}
