// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/stage1-kvm/internal/agent"
)

// mainSession is stage1-coreos inside the guest, with rkt's own streams.
type mainSession struct {
	mu      sync.Mutex
	session *agent.Session
	saved   *unix.Termios // of rkt's terminal, nil if it was left alone
	copies  sync.WaitGroup
}

// open starts it. With interactive, what is rkt's standard input is its.
func (m *mainSession) open(h *agent.Host, cmd agent.Command, interactive bool) error {
	var saved *unix.Termios
	if interactive {
		if t, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
			saved = t
			cmd.TTY = true
			if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
				cmd.Rows, cmd.Cols = size.Row, size.Col
			}
		}
	}
	s, err := h.Open(cmd)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.session, m.saved = s, saved
	m.mu.Unlock()
	if saved != nil {
		setRaw(saved)
	}
	for i, w := range []*os.File{os.Stdout, os.Stderr} {
		m.copies.Go(func() { _ = s.CopyOutput(i+1, w) })
	}
	if !interactive {
		return s.Stdin().Close()
	}
	go func() { copyInput(s.Stdin(), os.Stdin) }()
	return nil
}

// copyInput copies until the end of what is read, and says so.
func copyInput(w io.WriteCloser, r io.Reader) {
	_, _ = io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{r})
	_ = w.Close()
}

// wait waits for its end, and for what it has written.
func (m *mainSession) wait() (agent.Result, error) {
	r, err := m.session.Result()
	m.copies.Wait()
	return r, err
}

// resize tells the guest the size of rkt's terminal.
func (m *mainSession) resize() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session == nil || m.saved == nil {
		return
	}
	if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		_ = m.session.Resize(size.Row, size.Col)
	}
}

// restore leaves rkt's terminal as it was.
func (m *mainSession) restore() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saved != nil {
		_ = unix.IoctlSetTermios(0, unix.TCSETS, m.saved)
	}
}

// setRaw lets everything that is typed pass to the guest's terminal.
func setRaw(saved *unix.Termios) {
	raw := *saved
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	_ = unix.IoctlSetTermios(0, unix.TCSETS, &raw)
}

var errNoStreams = errors.New("a session needs three standard streams")
