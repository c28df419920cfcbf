// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/pod"
)

// crossing is a program of stage1 that acts inside a running pod, ready to run.
type crossing struct {
	*Env
	pod  *pod.Pod
	prog program
	vars entrypoint.CrossingVars
}

// crossing finds the program of an annotation; pid is the pod's first process.
func (e *Env) crossing(ctx context.Context, p *pod.Pod, pid int, annotation string) (*crossing, error) {
	prog, err := e.crossingProgram(ctx, p, annotation)
	if err != nil {
		return nil, err
	}
	enter, err := e.crossingProgram(ctx, p, entrypoint.AnnotationEnter)
	if err != nil {
		return nil, err
	}
	return &crossing{e, p, prog, entrypoint.CrossingVars{EnterCmd: enter.callable(), EnterPID: pid, Path: os.Getenv("PATH")}}, nil
}

func (e *Env) crossingProgram(ctx context.Context, p *pod.Pod, annotation string) (program, error) {
	prog, err := e.stage1Program(ctx, p, annotation)
	var missing *entrypoint.NotFoundError
	if errors.As(err, &missing) {
		return program{}, fmt.Errorf("%q not implemented for pod's stage1: %w", annotation, err)
	}
	return prog, err
}

// callable is the path by which others may execute the program. It is the name,
// by which one binary knows which of its programs is meant, unless that is a
// link that leads out of the tree.
func (p program) callable() string {
	resolved, err := filepath.EvalSymlinks(p.name)
	if err != nil || resolved != p.path {
		return p.path
	}
	return p.name
}

// stopDelay is what a program has to end in order when rkt is interrupted, and
// what a process of its may hold its output after it.
const stopDelay = 5 * time.Second

// command is the program with nothing of the caller but PATH.
func (c *crossing) command(ctx context.Context, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.prog.path)
	cmd.Args = argv
	cmd.Dir = c.pod.Path()
	cmd.Env = append(c.vars.Environ(), failpoint.Environ()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = stopDelay
	return cmd
}

// run executes the program. What it prints is shown with --debug, and is the
// end of the error if it fails.
func (c *crossing) run(ctx context.Context, argv []string) error {
	cmd := c.command(ctx, argv)
	var said output
	cmd.Stdout = &said
	if c.Debug {
		cmd.Stdout = io.MultiWriter(&said, c.stderr())
	}
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if text := said.text(); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return fmt.Errorf("error executing stage1 entrypoint: %w", err)
}

// exitStatus is that of the program, -1 if err is not about that.
func exitStatus(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// maxOutput caps what is kept of what a program prints.
const maxOutput = 8 << 10

// output keeps the end of what is written to it.
type output struct{ buf []byte }

func (o *output) Write(p []byte) (int, error) {
	o.buf = append(o.buf, p...)
	if extra := len(o.buf) - maxOutput; extra > 0 {
		o.buf = append(o.buf[:0], o.buf[extra:]...)
	}
	return len(p), nil
}

// text is the output as part of a message: its lines joined, nothing in it that
// would change a terminal.
func (o *output) text() string {
	var lines []string
	for line := range bytes.Lines(o.buf) {
		clean := strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(string(line), "?")))
		if clean != "" {
			lines = append(lines, clean)
		}
	}
	return strings.Join(lines, "; ")
}

func printable(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}
