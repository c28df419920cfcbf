// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// NativeSocket is where a journald takes entries (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const NativeSocket = "/run/systemd/journal/socket"

// StreamEnv names the stream between a service's standard output or error and
// journald: device and inode of the socket (systemd.exec(5), $JOURNAL_STREAM).
const StreamEnv = "JOURNAL_STREAM"

// IsStream tells whether f is the stream that a value of $JOURNAL_STREAM names:
// whatever is written to it goes to the journal of the host.
func IsStream(f *os.File, value string) bool {
	dev, ino, ok := strings.Cut(value, ":")
	wantDev, err1 := strconv.ParseUint(dev, 10, 64)
	wantIno, err2 := strconv.ParseUint(ino, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return false
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false
	}
	return st.Mode&unix.S_IFMT == unix.S_IFSOCK && st.Dev == wantDev && st.Ino == wantIno
}

// Sender hands entries to a journald. It is safe for concurrent use.
type Sender struct {
	path     string
	patience time.Duration

	mu   sync.Mutex
	conn *net.UnixConn
	buf  []byte
}

// NewSender returns a Sender to the socket at path. Nobody need listen there
// yet: each Send that finds no connection makes one. An entry that is not taken
// within patience has failed.
func NewSender(path string, patience time.Duration) *Sender {
	return &Sender{path: path, patience: patience}
}

// Send sends one entry. An error means that journald has not got it; later
// ones may succeed. It does not wait longer than the Sender's patience.
func (s *Sender) Send(fields ...Field) error {
	e := Entry{Fields: fields}
	if err := e.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = appendNative(s.buf[:0], fields)
	err := s.try()
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.drop() // the socket may have been made anew
		err = s.try()
	}
	if err != nil {
		s.drop()
		return fmt.Errorf("send to the journal of the host: %w", err)
	}
	return nil
}

// Close ends the connection.
func (s *Sender) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

func (s *Sender) drop() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// try sends what is in the buffer.
func (s *Sender) try() error {
	if s.conn == nil {
		c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.path, Net: "unixgram"})
		if err != nil {
			return err
		}
		s.conn = c
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
		return err
	}
	_, err := s.conn.Write(s.buf)
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS) {
		return s.pass()
	}
	return err
}

// pass sends an entry that is too big for a datagram as a sealed file.
func (s *Sender) pass() error {
	fd, err := unix.MemfdCreate("journal-entry", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fmt.Errorf("memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "journal-entry")
	defer func() { _ = f.Close() }()
	if _, err := f.Write(s.buf); err != nil {
		return err
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal memory file: %w", err)
	}
	raw, err := s.conn.SyscallConn() // WriteMsgUnix refuses a connected datagram socket
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(to uintptr) bool {
		sent = unix.Sendmsg(int(to), nil, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

// appendNative appends fields as the protocol writes them: NAME=value where the
// value is one line, else the name, the length and the value.
func appendNative(b []byte, fields []Field) []byte {
	for _, f := range fields {
		b = append(b, f.Name...)
		if bytes.IndexByte(f.Value, '\n') < 0 {
			b = append(b, '=')
		} else {
			b = append(b, '\n')
			b = binary.LittleEndian.AppendUint64(b, uint64(len(f.Value)))
		}
		b = append(b, f.Value...)
		b = append(b, '\n')
	}
	return b
}
