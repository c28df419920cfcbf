// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listener is a stand-in for journald's socket.
type listener struct {
	*net.UnixConn
	t *testing.T
}

func listenNative(t *testing.T, path string) listener {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return listener{c, t}
}

// next is the next entry, from a datagram or a file.
func (l listener) next() []Field {
	l.t.Helper()
	_ = l.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, oob := make([]byte, 1<<20), make([]byte, 64)
	n, oobn, _, _, err := l.ReadMsgUnix(b, oob)
	if err != nil {
		l.t.Fatal(err)
	}
	b = b[:n]
	if oobn > 0 {
		messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			l.t.Fatal(err)
		}
		fds, err := syscall.ParseUnixRights(&messages[0])
		if err != nil {
			l.t.Fatal(err)
		}
		f := os.NewFile(uintptr(fds[0]), "passed")
		defer func() { _ = f.Close() }()
		if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_WRITE == 0 {
			l.t.Errorf("the file is not sealed: %x, %v", seals, err)
		}
		if b, err = io.ReadAll(io.NewSectionReader(f, 0, 1<<20)); err != nil {
			l.t.Fatal(err)
		}
	}
	fields, err := parseNative(b)
	if err != nil {
		l.t.Fatal(err)
	}
	return fields
}

// parseNative reads what appendNative writes, as journald does.
func parseNative(b []byte) (fields []Field, err error) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return nil, fmt.Errorf("no line end in %q", b)
		}
		if name, value, ok := bytes.Cut(b[:i], []byte("=")); ok {
			fields = append(fields, Field{string(name), value})
			b = b[i+1:]
			continue
		}
		name := string(b[:i])
		b = b[i+1:]
		if len(b) < 8 {
			return nil, errors.New("no length")
		}
		n := binary.LittleEndian.Uint64(b)
		b = b[8:]
		if uint64(len(b)) < n+1 || b[n] != '\n' {
			return nil, errors.New("wrong length")
		}
		fields = append(fields, Field{name, b[:n]})
		b = b[n+1:]
	}
	return fields, nil
}

func TestSend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := NewSender(path, time.Second)
	defer s.Close()
	one := []Field{{"MESSAGE", []byte("hello = there")}, {"RKT_APP", []byte("web")}}
	if err := s.Send(one...); err == nil {
		t.Fatal("nobody listens, and the entry is sent")
	}
	l := listenNative(t, path)
	for name, fields := range map[string][]Field{
		"one line":  one,
		"bytes":     {{"MESSAGE", []byte("a\nb\x00\xff=\n")}, {"A", nil}},
		"a file":    {{"MESSAGE", bytes.Repeat([]byte("x"), MaxFieldValue)}, {"B", bytes.Repeat([]byte("y\n"), MaxFieldValue/2-10)}},
		"injection": {{"MESSAGE", []byte("x\n_UID=0\nPRIORITY=0")}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.Send(fields...); err != nil {
				t.Fatal(err)
			}
			got := l.next()
			for i := range got {
				if len(got[i].Value) == 0 {
					got[i].Value = nil
				}
			}
			if !reflect.DeepEqual(got, fields) {
				t.Errorf("%.200v", got)
			}
		})
	}
	for _, bad := range [][]Field{{}, {{"lower", nil}}, {{"", nil}}, {{"A=B", nil}}, {{"A\nB", nil}}, {{"M", make([]byte, MaxFieldValue+1)}}} {
		if err := s.Send(bad...); err == nil {
			t.Errorf("%.100v is sent", bad)
		}
	}
}

// TestSendAgain: a socket that is made anew is found.
func TestSendAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := NewSender(path, time.Second)
	defer s.Close()
	for range 3 {
		l := listenNative(t, path)
		if err := s.Send(Field{"MESSAGE", []byte("x")}); err != nil {
			t.Fatal(err)
		}
		l.next()
		_ = l.Close()
		_ = os.Remove(path)
		if err := s.Send(Field{"MESSAGE", []byte("x")}); err == nil {
			t.Fatal("nobody listens, and the entry is sent")
		}
	}
}

// TestSendPatience: a journald that does not read holds nobody up for ever.
func TestSendPatience(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listenNative(t, path)
	s := NewSender(path, 50*time.Millisecond)
	defer s.Close()
	start := time.Now()
	var err error
	for i := 0; err == nil && i < 100_000; i++ {
		err = s.Send(Field{"MESSAGE", make([]byte, 1000)})
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > 30*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

func TestIsStream(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, other := os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	defer func() { _, _ = f.Close(), other.Close() }()
	name := func(f *os.File) string {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	}
	if !IsStream(f, name(f)) {
		t.Error("its own name")
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for _, value := range []string{"", ":", "1:", "x:y", name(other), name(f) + "0", "-1:1"} {
		if IsStream(f, value) {
			t.Errorf("%q", value)
		}
	}
	if IsStream(file, name(file)) {
		t.Error("a file")
	}
}

// FuzzNative: what is written reads back as the same fields.
func FuzzNative(f *testing.F) {
	f.Add("MESSAGE", []byte("hello"), []byte("a\nb"))
	f.Add("A", []byte("\n"), []byte("X=1\nY"))
	f.Fuzz(func(t *testing.T, name string, one, two []byte) {
		e := Entry{Fields: []Field{{name, one}, {"OTHER", two}}}
		if e.check() != nil {
			return
		}
		got, err := parseNative(appendNative(nil, e.Fields))
		if err != nil || len(got) != 2 || got[0].Name != name || !bytes.Equal(got[0].Value, one) || !bytes.Equal(got[1].Value, two) {
			t.Errorf("%q, %v", got, err)
		}
	})
}
