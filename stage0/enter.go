// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/pod"
)

// EnterConfig says what to run in a running pod.
type EnterConfig struct {
	Env
	App     string   // empty: the only one
	Cmd     []string // empty: DefaultShell
	Environ []string
}

// DefaultShell is what Enter runs if no command is given.
const DefaultShell = "/bin/bash"

// Enter replaces this process by stage1's enter program, which runs a command
// in an app of the pod. It returns only on failure.
func Enter(ctx context.Context, p *pod.Pod, c EnterConfig) error {
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
	app, err := c.chooseApp(m, c.App, "enter")
	if err != nil {
		return fmt.Errorf("unable to determine app name: %w", err)
	}
	if len(c.Cmd) == 0 {
		c.say("no command specified, assuming %q", DefaultShell)
		c.Cmd = []string{DefaultShell}
	}
	prog, err := c.stage1Program(ctx, p, entrypoint.AnnotationEnter)
	if err != nil {
		return err
	}
	argv := entrypoint.Enter{Path: prog.name, PID: pid, App: app.String(), Cmd: c.Cmd}.Argv()
	return execIn(p, prog.path, argv, c.Environ)
}

// execIn becomes the program, in the pod directory.
func execIn(p *pod.Pod, program string, argv, environ []string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Fchdir(p.FD()); err != nil {
		return &os.PathError{Op: "chdir", Path: p.Path(), Err: err}
	}
	err := unix.Exec(program, argv, environ)
	return &os.PathError{Op: "exec", Path: program, Err: err}
}

// chooseApp returns the app called name, or the only one if name is empty.
func (e *Env) chooseApp(m *appc.PodManifest, name, command string) (appc.Name, error) {
	if name != "" {
		for _, a := range m.Apps {
			if a.Name.String() == name {
				return a.Name, nil
			}
		}
		return "", fmt.Errorf("app %s is not present in pod", name)
	}
	switch len(m.Apps) {
	case 0:
		return "", errors.New("pod contains zero apps")
	case 1:
		return m.Apps[0].Name, nil
	}
	var list strings.Builder
	for _, a := range m.Apps {
		list.WriteString("\n\t" + a.Name.String())
	}
	e.say("pod contains multiple apps:%s", list.String())
	return "", fmt.Errorf("specify app using \"rkt %s --app= ...\"", command)
}

// program is an executable of stage1: path is what is executed, name is argv[0].
type program struct{ path, name string }

// stage1Program finds an entrypoint of a pod's stage1 in the tree store. A pod
// whose stage1 was copied and whose tree is gone has it in the copy.
func (e *Env) stage1Program(ctx context.Context, p *pod.Pod, annotation string) (program, error) {
	m, err := p.Stage1Manifest()
	if err != nil {
		return program{}, err
	}
	entry, err := entrypoint.Lookup(m, annotation)
	if err != nil {
		return program{}, err
	}
	roots, err := e.stage1Roots(ctx, p)
	if err != nil {
		return program{}, err
	}
	return findProgram(roots, entry)
}

func findProgram(roots []string, entry string) (program, error) {
	var firstErr error
	for _, root := range roots {
		path, err := programIn(root, entry)
		if err == nil {
			return program{path: path, name: filepath.Join(root, entry)}, nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return program{}, firstErr
}
