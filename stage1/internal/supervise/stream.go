// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/stage1/internal/wire"
)

// streamNames are those of descriptors 0 to 2.
var streamNames = [...]string{"stdin", "stdout", "stderr"}

// grant makes the standard streams of an app, or of a handler, and sends them.
func (s *supervisor) grant(c *net.UnixConn, r wire.Request, prof *profile.Profile, files []*os.File, modes []string) error {
	if len(modes) != len(streamNames) {
		return errors.New("the profile of the app is damaged")
	}
	var master *os.File
	if prof.Start.TTY && r.Kind == wire.Start {
		if len(files) != 1 {
			return errors.New("the terminal is missing")
		}
		var err error
		if master, err = s.master(files[0]); err != nil {
			return err
		}
	}
	var send, keep []*os.File
	defer func() {
		for _, f := range send {
			_ = f.Close()
		}
	}()
	starts := []func(){}
	for fd, mode := range modes {
		theirs, ours, err := openStream(fd, mode)
		if err != nil {
			return errors.Join(err, closeFiles(keep))
		}
		send = append(send, theirs)
		if ours != nil {
			keep = append(keep, ours)
			starts = append(starts, func() { s.pump(r, fd, mode, ours) })
		}
	}
	err := failpoint.Hit("stage1.streams-made")
	if err == nil {
		err = wire.Grant(c, send)
	}
	if err != nil {
		return errors.Join(err, closeFiles(keep))
	}
	for _, start := range starts {
		start()
	}
	if master != nil {
		s.pumpTerminal(r, prof, master)
	}
	return nil
}

func closeFiles(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// openStream returns the app's end of a stream and this process's.
func openStream(fd int, mode string) (theirs, ours *os.File, err error) {
	switch {
	case mode == "log" && fd > 0, mode == "stream":
	default: // null, or a terminal that the other side has itself
		f, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
		return f, nil, err
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	mine, other := p[0], p[1]
	if fd == 0 {
		mine, other = p[1], p[0]
	}
	// Each end has a mode of its own: the app's stays a blocking one.
	if err := unix.SetNonblock(mine, true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(mine), unix.Close(other))
	}
	return os.NewFile(uintptr(other), "stream"), os.NewFile(uintptr(mine), streamNames[fd]), nil
}

// master prepares the terminal that a launch has made.
func (s *supervisor) master(f *os.File) (*os.File, error) {
	if _, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPTN); err != nil {
		return nil, errors.New("what was sent is no terminal")
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}

// pump serves this process's end of a stream until it ends.
func (s *supervisor) pump(r wire.Request, fd int, mode string, ours *os.File) {
	attachable := mode == "stream"
	if fd == 0 {
		s.mux.input(r.App, streamNames[0], ours)
		return
	}
	var out *output
	if attachable {
		out = s.mux.output(r.App, streamNames[fd])
	}
	s.readers.Add(1)
	go func() {
		defer s.readers.Done()
		defer func() { _ = ours.Close() }()
		split := splitter{emit: func(line []byte) {
			s.log.line(r.App, streamNames[fd], r.PID, line)
			if out != nil {
				out.write(append(line[:len(line):len(line)], '\n'))
			}
		}}
		b := make([]byte, 32<<10)
		for {
			n, err := ours.Read(b)
			split.Write(b[:n])
			if err != nil {
				break
			}
		}
		split.end()
		if out != nil {
			out.end()
		}
	}()
}

// pumpTerminal serves the terminal of an app.
func (s *supervisor) pumpTerminal(r wire.Request, prof *profile.Profile, master *os.File) {
	if prof.Start.Interactive && s.term != nil {
		s.term.connect(master)
		return
	}
	out := s.mux.terminal(r.App, master)
	s.readers.Add(1)
	go func() {
		defer s.readers.Done()
		defer func() { _ = master.Close() }()
		b := make([]byte, 32<<10)
		for {
			n, err := master.Read(b)
			if n > 0 {
				out.write(append([]byte(nil), b[:n]...))
			}
			if err != nil { // EIO: nobody has the other side open any more
				break
			}
		}
		out.end()
	}()
}
