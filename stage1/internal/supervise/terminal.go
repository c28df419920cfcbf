// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bytes"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is rkt's terminal, or what it has in its place, while an app with
// --interactive has it.
type terminal struct {
	s     *supervisor
	saved *unix.Termios // nil: no terminal
	mu    sync.Mutex
	app   *os.File // master side of the app's
}

// The escape sequence: three times ^] within a second.
const (
	escape      = 0x1d
	escapeCount = 3
	escapeTime  = time.Second
	// statusEscape is the pod's exit status then.
	statusEscape = 1
)

func openTerminal(s *supervisor) *terminal {
	t := &terminal{s: s}
	if saved, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		t.saved = saved
	}
	return t
}

// connect gives the terminal to an app.
func (t *terminal) connect(master *os.File) {
	if t.saved != nil {
		raw := *t.saved
		raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		raw.Oflag &^= unix.OPOST
		raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		_ = unix.IoctlSetTermios(0, unix.TCSETS, &raw)
	}
	t.mu.Lock()
	t.app = master
	t.mu.Unlock()
	t.resize()
	t.s.readers.Add(1)
	go func() {
		defer t.s.readers.Done()
		defer func() { _ = master.Close() }()
		b := make([]byte, 32<<10)
		for {
			n, err := master.Read(b)
			if n > 0 {
				t.s.log.raw(b[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	go t.input(master)
}

// input copies what is typed, watching for the escape sequence.
func (t *terminal) input(master *os.File) {
	b := make([]byte, 4<<10)
	var e escapes
	for {
		n, err := unix.Read(0, b)
		if err == unix.EINTR || err == unix.EAGAIN {
			if err == unix.EAGAIN {
				_, _ = unix.Poll([]unix.PollFd{{Fd: 0, Events: unix.POLLIN}}, -1)
			}
			continue
		}
		if n <= 0 {
			if t.saved != nil { // the terminal has gone
				t.s.stop()
			} else if err == nil {
				const endOfFile = 0x04 // ^D
				_, _ = master.Write([]byte{endOfFile})
			}
			return
		}
		if t.saved != nil && e.seen(b[:n], time.Now()) {
			t.s.kill(statusEscape)
			return
		}
		if _, err := master.Write(b[:n]); err != nil {
			return
		}
	}
}

// escapes counts the characters of the escape sequence.
type escapes struct {
	count int
	first time.Time
}

// seen tells whether the sequence is complete. Another character ends it.
func (e *escapes) seen(b []byte, now time.Time) bool {
	for len(b) > 0 {
		if b[0] != escape {
			e.count = 0
			i := bytes.IndexByte(b, escape)
			if i < 0 {
				return false
			}
			b = b[i:]
			continue
		}
		if e.count == 0 || now.Sub(e.first) > escapeTime {
			e.count, e.first = 0, now
		}
		if e.count++; e.count >= escapeCount {
			return true
		}
		b = b[1:]
	}
	return false
}

// resize gives the app's terminal the size of rkt's.
func (t *terminal) resize() {
	if t == nil || t.saved == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil || t.app == nil {
		return
	}
	_ = unix.IoctlSetWinsize(int(t.app.Fd()), unix.TIOCSWINSZ, size)
}

// restoreTerminal leaves rkt's terminal as it was.
func (s *supervisor) restoreTerminal() {
	if s.term != nil && s.term.saved != nil {
		_ = unix.IoctlSetTermios(0, unix.TCSETS, s.term.saved)
	}
}
