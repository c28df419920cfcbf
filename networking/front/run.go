// SPDX-License-Identifier: Apache-2.0

package front

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

const (
	maxStdout = 1 << 20
	maxStderr = 64 << 10
	// lingering is how long a process that the plugin left behind may keep its
	// outputs open.
	lingering = 5 * time.Second
)

// run executes a program as a CNI plugin.
func (e Exec) run(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	stdout := limited{max: maxStdout}
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = append([]string{}, environ...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stdout = &stdout
	if e.Stderr != nil {
		cmd.Stderr = &through{w: e.Stderr, left: maxStderr}
	}
	cmd.WaitDelay = lingering
	// A plugin must not go on beside the teardown that follows on a killed set-up.
	// The signal comes when the thread ends, so it is kept meanwhile.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("plugin %s: %w", path, context.Cause(ctx))
	}
	if stdout.over {
		return nil, fmt.Errorf("plugin %s wrote more than %d bytes", path, maxStdout)
	}
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return stdout.buf.Bytes(), nil
	case errors.As(err, &exit):
		return nil, diagnosis(stdout.buf.Bytes(), exit)
	}
	return nil, fmt.Errorf("execute plugin: %w", err)
}

// diagnosis is the error that a plugin which failed wrote to its stdout.
func diagnosis(stdout []byte, exit error) error {
	var e types.Error
	err := json.Unmarshal(stdout, &e)
	if err == nil && e.Msg == "" && e.Details == "" {
		err = errors.New("no message in it")
	}
	if err != nil {
		return fmt.Errorf("netplugin failed but error parsing its diagnostic message %q: %w (%w)", stdout, err, exit)
	}
	return &e
}

// limited keeps what is written to it, up to a size. The buffer is not embedded:
// its ReadFrom would take everything.
type limited struct {
	buf  bytes.Buffer
	max  int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.buf.Len()+len(p) > l.max {
		l.over = true
		return len(p), nil
	}
	return l.buf.Write(p)
}

// through passes on what is written to it, up to a size.
type through struct {
	w    io.Writer
	left int
}

func (t *through) Write(p []byte) (int, error) {
	n := min(len(p), t.left)
	t.left -= n
	if n > 0 {
		if _, err := t.w.Write(p[:n]); err != nil {
			t.left = 0 // nobody reads it; the plugin need not know
		}
	}
	return len(p), nil
}
