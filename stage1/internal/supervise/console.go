// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/journal"
)

// maxLine is the longest line that is printed and kept as one; a longer one is
// split.
const maxLine = 48 << 10

// log is where the apps' lines go: rkt's standard output, or the journal of the
// host where that leads to it, and the journal of the pod. It is safe for concurrent use. A caller that does not read slows the
// apps down, as a pipe would.
type log struct {
	mu      sync.Mutex
	out     io.Writer
	host    *hostLog        // nil: standard output is not the journal of the host
	journal *journal.PodLog // nil: none
	broken  bool            // the journal could not be written
	buf     bytes.Buffer
}

// line prints one line of an app, without its end.
func (l *log) line(app, stream string, pid int, text []byte) {
	now := time.Now()
	var mono unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.host.line(app, stream, text) {
		l.buf.Reset()
		fmt.Fprintf(&l.buf, "[%d.%06d] %s[%d]: ", mono.Sec, mono.Nsec/1000, app, pid)
		l.buf.Write(text)
		l.buf.WriteByte('\n')
		_, _ = l.out.Write(l.buf.Bytes()) // nobody listens any more: the journal still does
	}
	if l.journal == nil {
		return
	}
	if err := l.journal.Line(app, stream, pid, now, text); err != nil && !l.broken {
		l.broken = true
		say("warning: the journal of the pod cannot be written: %v", err)
	}
}

// raw passes bytes through as they are.
func (l *log) raw(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.out.Write(b)
}

// close ends the journal.
func (l *log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.host.close()
	if l.journal == nil {
		return
	}
	if err := l.journal.Close(); err != nil && !l.broken {
		say("warning: the journal of the pod: %v", err)
	}
	l.journal = nil
}

// splitter cuts a stream into lines.
type splitter struct {
	rest []byte
	emit func(line []byte)
}

func (s *splitter) Write(p []byte) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		switch {
		case i < 0 && len(s.rest)+len(p) < maxLine:
			s.rest = append(s.rest, p...)
			return
		case i < 0 || len(s.rest)+i > maxLine:
			i = min(len(p), maxLine-len(s.rest))
			s.emit(append(s.rest, p[:i]...))
			s.rest, p = s.rest[:0], p[i:]
		default:
			s.emit(append(s.rest, p[:i]...))
			s.rest, p = s.rest[:0], p[i+1:]
		}
	}
}

// end emits what has no line end.
func (s *splitter) end() {
	if len(s.rest) > 0 {
		s.emit(s.rest)
		s.rest = nil
	}
}
