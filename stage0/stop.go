// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/pod"
)

// Answers of Stop that are no failures of stage1.
var (
	ErrAlreadyStopped = errors.New("is already stopped")
	ErrNotRunning     = errors.New("is not running")
)

// StopConfig says how to stop a pod.
type StopConfig struct {
	Env
	Force bool
}

// Stop asks a pod's stage1 to stop it and returns when the request was
// delivered. A pod that has ended is ErrAlreadyStopped, one that was not
// started ErrNotRunning; both errors read as "pod UUID …".
func Stop(ctx context.Context, p *pod.Pod, c StopConfig) error {
	if err := p.Refresh(); err != nil {
		return err
	}
	switch {
	case p.State() == pod.Gone || p.State().IsAfterRun():
		return fmt.Errorf("pod %q %w", p.UUID(), ErrAlreadyStopped)
	case p.State() != pod.Running:
		return fmt.Errorf("pod %q %w", p.UUID(), ErrNotRunning)
	}
	if err := c.stop(ctx, p); err != nil {
		return fmt.Errorf("error stopping %q: %w", p.UUID(), err)
	}
	return nil
}

func (c *StopConfig) stop(ctx context.Context, p *pod.Pod) error {
	prog, err := c.stage1Program(ctx, p, entrypoint.AnnotationStop)
	var missing *entrypoint.NotFoundError
	if errors.As(err, &missing) {
		return fmt.Errorf("rkt stop not implemented for pod's stage1: %w", err)
	}
	if err != nil {
		return err
	}
	argv := entrypoint.Stop{Path: prog.name, Force: c.Force, UUID: p.UUID()}.Argv()
	cmd := exec.CommandContext(ctx, prog.path)
	cmd.Args = argv
	cmd.Dir = p.Path()
	cmd.Stdout, cmd.Stderr = c.stdout(), c.stderr()
	return cmd.Run()
}
