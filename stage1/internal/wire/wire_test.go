// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRoundTrip(t *testing.T) {
	for _, r := range []Request{
		{Kind: Start, App: "web", PID: 2},
		{Kind: Handler, App: "a-b-1", PID: 1 << 22},
		{Kind: Failed, App: "x", PID: 1, Text: "why: \"é\"\tnot"},
		{Kind: Failed, App: "x", PID: 1, Text: strings.Repeat("y", maxText)},
	} {
		b, err := r.Marshal()
		if err != nil || len(b) > MaxMessage {
			t.Fatalf("%+v: %v", r, err)
		}
		if got, err := Parse(b); err != nil || got != r {
			t.Errorf("%+v, %v; want %+v", got, err, r)
		}
	}
	b, err := Request{Kind: Failed, App: "x", PID: 1, Text: strings.Repeat("y", 2*maxText) + "\x00"}.Marshal()
	if got, perr := Parse(b); err != nil || perr != nil || len(got.Text) != maxText {
		t.Errorf("a text that is too long: %d, %v, %v", len(got.Text), err, perr)
	}
	if b, err := (Request{Kind: Failed, App: "x", PID: 1, Text: "a\x00b"}).Marshal(); err != nil || !strings.HasSuffix(string(b), "\x00a b") {
		t.Errorf("a text with a NUL byte: %q, %v", b, err)
	}
	for _, r := range []Request{{}, {Kind: "other", App: "a", PID: 1}, {Kind: Start, App: "A b", PID: 1}, {Kind: Start, App: "a"}, {Kind: Start, App: "a", PID: -1}} {
		if b, err := r.Marshal(); err == nil {
			t.Errorf("%+v is marshalled: %q", r, b)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, s := range []string{
		"", "start", "start\x00a\x001", "start\x00a\x001\x00\x00", "start\x00\x001\x00", "start\x00../a\x001\x00", "start\x00a\x000\x00", "start\x00a\x00-1\x00", "start\x00a\x00+1\x00",
		"start\x00a\x0001\x00", "start\x00a\x001 \x00", "start\x00a\x0099999999999999999999\x00", "START\x00a\x001\x00", "start\x00a\n\x001\x00", "start\x00a.service\x001\x00",
		"failed\x00a\x001\x00" + strings.Repeat("x", maxText+1),
	} {
		if r, err := Parse([]byte(s)); err == nil {
			t.Errorf("%q: %+v", s, r)
		}
	}
}

// FuzzParse: what is parsed is in range, and marshals to the same bytes.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"start\x00web\x002\x00", "handler\x00a\x001\x00", "failed\x00a\x007\x00it is gone\nreally", "start\x00a\x0001\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		if r.PID <= 0 || r.App == "" || strings.ContainsAny(r.App, "/.\x00\n ") || len(r.Text) > maxText {
			t.Errorf("%+v", r)
		}
		if again, err := r.Marshal(); err != nil || string(again) != string(b) {
			t.Errorf("%q becomes %q, %v", b, again, err)
		}
	})
}

// supervisor answers one request by a function.
func supervisor(t *testing.T, answer func(c *net.UnixConn, r Request, files []*os.File)) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		b, files, err := Read(c)
		if err != nil {
			t.Error(err)
			return
		}
		r, err := Parse(b)
		if err != nil {
			t.Error(err)
			return
		}
		answer(c, r, files)
		closeAll(files)
	}()
	return socket
}

var request = Request{Kind: Start, App: "web", PID: 7}

func noBus() (*os.File, error) { return nil, errors.New("not asked for") }

// pipes returns files of which the first reads what is written into the second.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

func TestAsk(t *testing.T) {
	r, w := pipe(t)
	mr, mw := pipe(t)
	socket := supervisor(t, func(c *net.UnixConn, got Request, files []*os.File) {
		if got != request || len(files) != 1 {
			t.Errorf("%+v with %d descriptors", got, len(files))
			return
		}
		if _, err := files[0].WriteString("through the terminal"); err != nil {
			t.Error(err)
		}
		if err := Grant(c, []*os.File{w, w, r}); err != nil {
			t.Error(err)
		}
	})
	files, err := Ask(socket, request, noBus, mw)
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	_ = mw.Close()
	if got, err := io.ReadAll(mr); err != nil || string(got) != "through the terminal" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := files[1].WriteString("x"); err != nil {
		t.Error(err)
	}
	b := make([]byte, 1)
	if _, err := files[2].Read(b); err != nil || b[0] != 'x' {
		t.Errorf("%q, %v", b, err)
	}
	for _, f := range files {
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("a descriptor that goes on to programs: %v, %v", flags, err)
		}
	}
	closeAll(files)
}

func TestAskBus(t *testing.T) {
	busR, busW := pipe(t)
	var asked bool
	socket := supervisor(t, func(c *net.UnixConn, _ Request, _ []*os.File) {
		bus, err := AskBus(c)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = bus.WriteString("b")
		_ = bus.Close()
		if err := Grant(c, nil); err != nil {
			t.Error(err)
		}
	})
	files, err := Ask(socket, request, func() (*os.File, error) {
		asked = true
		fd, err := unix.Dup(int(busW.Fd()))
		return os.NewFile(uintptr(fd), "bus"), err
	})
	if err != nil || len(files) != 0 || !asked {
		t.Errorf("%v, %v", files, err)
	}
	b := make([]byte, 1)
	if _, err := busR.Read(b); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	socket := supervisor(t, func(c *net.UnixConn, _ Request, _ []*os.File) {
		if err := Refuse(c, "the pod is ending"+strings.Repeat("x", 2*maxText)); err != nil {
			t.Error(err)
		}
	})
	if _, err := Ask(socket, request, noBus); err == nil || !strings.Contains(err.Error(), "refuses: the pod is ending") {
		t.Error(err)
	}
	socket = supervisor(t, func(*net.UnixConn, Request, []*os.File) {})
	if _, err := Ask(socket, request, noBus); err == nil {
		t.Error("no answer, and no error")
	}
	socket = supervisor(t, func(c *net.UnixConn, _ Request, _ []*os.File) {
		if _, err := AskBus(c); err == nil {
			t.Error("a bus from nowhere")
		}
	})
	if _, err := Ask(socket, request, noBus); err == nil || !strings.Contains(err.Error(), "not asked for") {
		t.Error(err)
	}
	if _, err := Ask(filepath.Join(t.TempDir(), "gone"), request, noBus); err == nil {
		t.Error("nobody listens")
	}
	if _, err := Ask("", Request{}, noBus); err == nil {
		t.Error("a request that is none")
	}
}

// open lists this process's descriptors.
func open(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if !strings.HasPrefix(to, "/proc/") {
			all = append(all, to)
		}
	}
	slices.Sort(all)
	return all
}

// TestReadHostile: too many descriptors or bytes are an error and leave nothing open.
func TestReadHostile(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fds[1]) }()
	f := os.NewFile(uintptr(fds[0]), "socket")
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	c := conn.(*net.UnixConn)
	defer func() { _ = c.Close() }()
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	for _, n := range []int{maxFiles + 1, 50, 253} {
		before := open(t)
		rights := slices.Repeat([]int{int(null.Fd())}, n)
		if err := unix.Sendmsg(fds[1], []byte("start\x00a\x001\x00"), unix.UnixRights(rights...), nil, 0); err != nil {
			t.Fatal(err)
		}
		if _, files, err := Read(c); err == nil {
			t.Errorf("%d descriptors: %d are taken", n, len(files))
		}
		if after := open(t); !slices.Equal(before, after) {
			t.Errorf("%d descriptors leave %d open, before %d", n, len(after), len(before))
		}
	}
	if err := unix.Sendmsg(fds[1], make([]byte, MaxMessage+1), nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	if b, _, err := Read(c); err == nil {
		t.Errorf("%d bytes are taken", len(b))
	}
	for n := range maxFiles + 1 {
		if err := unix.Sendmsg(fds[1], []byte("x"), unix.UnixRights(slices.Repeat([]int{int(null.Fd())}, n)...), nil, 0); err != nil {
			t.Fatal(err)
		}
		b, files, err := Read(c)
		if err != nil || len(files) != n || string(b) != "x" {
			t.Errorf("%s descriptors: %d, %v", strconv.Itoa(n), len(files), err)
		}
		closeAll(files)
	}
}
