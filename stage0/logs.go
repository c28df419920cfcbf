// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// LogsConfig says what to show of a pod's log.
type LogsConfig struct {
	Env
	App     string    // empty: all apps
	Follow  bool      // until the pod has ended
	Since   time.Time // zero: from the beginning
	Lines   int       // the last so many, or entrypoint.AllLines
	Output  string    // one of entrypoint.LogOutputs
	Environ []string
}

// Logs replaces this process by stage1's logs program, which shows what the
// apps of a pod have written. The pod may run or have ended. Logs returns only
// on failure.
func Logs(ctx context.Context, p *pod.Pod, c LogsConfig) error {
	if !p.State().HasStarted() {
		return fmt.Errorf("pod %q has not been started", p.UUID())
	}
	if err := c.checkApp(p); err != nil {
		return err
	}
	prog, err := c.stage1Program(ctx, p, entrypoint.AnnotationLogs)
	var missing *entrypoint.NotFoundError
	if errors.As(err, &missing) {
		err = fmt.Errorf("rkt logs not implemented for pod's stage1: %w", err)
		return hint.With(err, `the apps of this pod write to the output of "rkt run" itself`)
	}
	if err != nil {
		return err
	}
	m, err := p.Stage1Manifest()
	if err != nil {
		return err
	}
	entry, err := entrypoint.Lookup(m, entrypoint.AnnotationLogs)
	if err != nil {
		return err
	}
	s1, err := p.ReadableStage1()
	if err != nil {
		return err
	}
	call := entrypoint.Logs{
		Path:    prog.name,
		Journal: filepath.Join(s1, poddir.JournalDir, p.UUID().MachineID()),
		Root:    strings.TrimSuffix(prog.name, entry), // the tree that has the program
		App:     c.App,
		Follow:  c.Follow && p.State() == pod.Running,
		Since:   c.Since,
		Lines:   c.Lines,
		Output:  c.Output,
	}
	return execIn(p, prog.path, call.Argv(), logsEnviron(c.Environ))
}

// checkApp refuses an app that the pod does not have. One that was removed from
// a mutable pod has left its lines.
func (c *LogsConfig) checkApp(p *pod.Pod) error {
	if c.App == "" {
		return nil
	}
	m, err := p.Manifest()
	if err != nil {
		return err
	}
	if v, _ := m.Annotations.Get(entrypoint.MutableAnnotation); v == "true" {
		return nil
	}
	_, err = c.chooseApp(m, c.App, "logs")
	return err
}

// logsEnviron is what the logs program gets of the caller's environment: where
// to find a journalctl of the host, and how to show times.
func logsEnviron(caller []string) []string {
	env := []string{"PATH=" + entrypoint.DefaultPath}
	for _, kv := range caller {
		switch name, value, _ := strings.Cut(kv, "="); {
		case name == "PATH" && value != "":
			env[0] = kv
		case name == "TZ":
			env = append(env, kv)
		}
	}
	return env
}
