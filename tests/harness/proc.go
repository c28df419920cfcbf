// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Proc is a command that runs in the background, mostly `rkt run`.
type Proc struct {
	Cmd  *exec.Cmd
	UUID string // of the pod; only from StartPod

	h      *Host
	args   []string
	start  time.Time
	lines  chan string
	mu     sync.Mutex
	out    bytes.Buffer
	errOut bytes.Buffer
	done   chan struct{}
	err    error
}

type lockedBuffer struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Start starts a command in the background. It is killed if the test ends first.
func (h *Host) Start(args ...string) *Proc {
	h.T.Helper()
	p := &Proc{h: h, args: args, start: time.Now(), lines: make(chan string, 1024), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.Cmd = h.Cmd(ctx, args...)
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	if err != nil {
		h.T.Fatalf("%v", err)
	}
	p.Cmd.Stdout, p.Cmd.Stderr = w, lockedBuffer{&p.mu, &p.errOut}
	p.Cmd.WaitDelay = 5 * time.Second
	if err := p.Cmd.Start(); err != nil {
		cancel()
		h.T.Fatalf("start rkt %s: %v", strings.Join(args, " "), err)
	}
	_ = w.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.copyLines(r)
	}()
	go func() {
		defer close(p.done)
		p.err = p.Cmd.Wait()
		<-read
	}()
	h.T.Cleanup(func() {
		select {
		case <-p.done:
		default:
			_ = syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
			<-p.done
		}
		cancel()
	})
	return p
}

func (p *Proc) copyLines(r *os.File) {
	defer func() { _ = r.Close() }()
	defer close(p.lines)
	s := bufio.NewScanner(r)
	for s.Scan() {
		p.mu.Lock()
		p.out.WriteString(s.Text() + "\n")
		p.mu.Unlock()
		select {
		case p.lines <- s.Text():
		default: // nobody reads lines of this one
		}
	}
}

// StartPod starts `rkt run` with the arguments and waits until its app has
// printed the line "ready".
func (h *Host) StartPod(args ...string) *Proc {
	h.T.Helper()
	file := filepath.Join(h.T.TempDir(), "uuid")
	p := h.Start(append([]string{"run", "--uuid-file-save=" + file}, args...)...)
	p.WaitLine("ready")
	uuid, err := os.ReadFile(file)
	if err != nil {
		h.T.Fatalf("uuid file: %v", err)
	}
	p.UUID = string(uuid)
	return p
}

// WaitLine waits for a line on standard output.
func (p *Proc) WaitLine(want string) {
	p.h.T.Helper()
	limit := time.After(Timeout)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				<-p.done
				p.h.T.Fatalf("ended before it printed %q: %s", want, p.result())
			}
			if strings.TrimSpace(line) == want {
				return
			}
		case <-limit:
			p.h.T.Fatalf("no line %q after %s: %s", want, Timeout, p.result())
		}
	}
}

// Signal sends a signal to the process.
func (p *Proc) Signal(s syscall.Signal) {
	p.h.T.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil {
		p.h.T.Fatalf("signal %v: %v", s, err)
	}
}

// Wait waits for the end.
func (p *Proc) Wait() Result {
	p.h.T.Helper()
	select {
	case <-p.done:
	case <-time.After(Timeout):
		p.h.T.Fatalf("no end after %s: %s", Timeout, p.result())
	}
	r := p.result()
	p.h.fill(&r, p.Cmd, p.err)
	return r
}

func (p *Proc) result() Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Result{Args: p.args, Stdout: p.out.String(), Stderr: p.errOut.String(), Took: time.Since(p.start), Status: -1}
}
