// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const patience = 10 * time.Second

// pair is both ends over a pipe. The guest's end runs tasks with run.
func pair(t *testing.T, run func(*Task)) (*Host, *Guest, chan error) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	h, g := NewHost(a), NewGuest(b, run)
	served := make(chan error, 1)
	go func() { served <- h.Serve() }()
	return h, g, served
}

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %s", what, patience)
	}
}

// TestLife: greeting, a set-up larger than a frame, a session whose output is
// larger than a window, signals, an exit status, and the end.
func TestLife(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 3*Window/16)
	signals := make(chan int, 1)
	h, g, served := pair(t, func(task *Task) {
		go task.Control(func(sig int) { signals <- sig }, func(uint16, uint16) {})
		var in bytes.Buffer
		_ = task.CopyInput(&in)
		_, _ = task.Output(1).Write(big)
		_, _ = task.Output(2).Write(in.Bytes())
		<-signals
		_ = task.Output(1).Close()
		_ = task.Output(2).Close()
		_ = task.End(Result{Code: 7, Signal: 0})
	})
	manifest, err := json.Marshal(strings.Repeat("m", 3*MaxBody))
	if err != nil {
		t.Fatal(err)
	}
	guest := make(chan error, 1)
	go func() {
		p, err := g.Begin()
		if err == nil && (p.UUID != "u" || !bytes.Equal(p.Manifest, manifest)) {
			err = errors.New("another set-up has arrived")
		}
		if err == nil {
			err = g.Ready()
		}
		if err == nil {
			err = g.Serve()
		}
		guest <- err
	}()
	wait(t, h.Hello(), "hello")
	if err := h.Setup(Pod{UUID: "u", Manifest: manifest}); err != nil {
		t.Fatal(err)
	}
	wait(t, h.Ready(), "ready")
	s, err := h.Open(Command{Program: "x", Args: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stdin().Write([]byte("typed")); err != nil {
		t.Fatal(err)
	}
	if err := s.Stdin().Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(15); err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	done := make(chan error, 2)
	go func() { done <- s.CopyOutput(1, &out) }()
	go func() { done <- s.CopyOutput(2, &stderr) }()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	wait(t, s.Ended(), "end of the program")
	if r, err := s.Result(); err != nil || r.Code != 7 {
		t.Errorf("%+v, %v", r, err)
	}
	if !bytes.Equal(out.Bytes(), big) || stderr.String() != "typed" {
		t.Errorf("%d bytes of output, %q", out.Len(), stderr.String())
	}
	if err := h.Off(); err != nil {
		t.Fatal(err)
	}
	if err := <-guest; !errors.Is(err, ErrOff) {
		t.Errorf("the guest ends with %v", err)
	}
	select {
	case err := <-served:
		t.Errorf("the host has ended: %v", err)
	default:
	}
}

// TestReaderGone: a reader that takes no more does not hold the program up.
func TestReaderGone(t *testing.T) {
	h, g, _ := pair(t, func(task *Task) {
		for range 8 {
			_, _ = task.Output(1).Write(make([]byte, Window))
		}
		_ = task.Output(1).Close()
		_ = task.Output(2).Close()
		_ = task.End(Result{})
	})
	go func() { _ = g.Serve() }()
	s, err := h.Open(Command{})
	if err != nil {
		t.Fatal(err)
	}
	errBroken := errors.New("broken pipe")
	go func() { _ = s.CopyOutput(2, io.Discard) }()
	if err := s.CopyOutput(1, writer(func([]byte) (int, error) { return 0, errBroken })); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
	wait(t, s.Ended(), "end of the program")
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestGone: when the machine ends, every session has ended, and none begins.
func TestGone(t *testing.T) {
	a, b := net.Pipe()
	h := NewHost(a)
	served := make(chan error, 1)
	go func() { served <- h.Serve() }()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	s, err := h.Open(Command{})
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	if err := <-served; err != nil {
		t.Errorf("%v", err)
	}
	if _, err := s.Result(); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	if _, err := h.Open(Command{}); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	if _, err := s.Stdin().Write([]byte("x")); err == nil {
		t.Error("somebody has read it")
	}
}

func frame(kind Kind, stream byte, session uint32, body string) []byte {
	b := []byte{byte(kind), stream, 0, 0}
	b = binary.BigEndian.AppendUint32(b, session)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

func join(all ...[]byte) []byte { return bytes.Join(all, nil) }

// discard is a connection whose other end says what it was given.
type discard struct{ io.Reader }

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// hostile are things that no guest of ours says, with session 1 open.
func hostile() map[string][]byte {
	huge := frame(Data, 1, 1, "")
	binary.BigEndian.PutUint32(huge[8:], 1<<31)
	zero := frame(Data, 1, 1, "")
	zero[2] = 1
	full := make([][]byte, 0, 6)
	for range Window/MaxBody + 1 {
		full = append(full, frame(Data, 1, 1, strings.Repeat("x", MaxBody)))
	}
	const hello = `{"version":1}`
	return map[string][]byte{
		"a kind of the host's":      frame(Open, 0, 1, "{}"),
		"set-up by the guest":       frame(Setup, 0, 0, "{}"),
		"no kind":                   frame(0, 0, 0, ""),
		"unknown kind":              frame(99, 0, 0, ""),
		"a body without end":        huge,
		"a body that is cut off":    frame(Data, 1, 1, "abc")[:13],
		"reserved bytes":            zero,
		"stream 3":                  frame(Data, 3, 1, "x"),
		"output on standard input":  frame(Data, 0, 1, "x"),
		"end of standard input":     frame(EOF, 0, 1, ""),
		"a session nobody opened":   frame(Data, 1, 2, "x"),
		"session 0":                 frame(Exit, 0, 0, `{"code":0}`),
		"more than a window":        join(full...),
		"data after the end":        join(frame(EOF, 1, 1, ""), frame(Data, 1, 1, "x")),
		"two exits":                 join(frame(Exit, 0, 1, `{"code":0}`), frame(Exit, 0, 1, `{"code":0}`)),
		"credit of other size":      frame(Credit, 0, 1, "x"),
		"credit for nothing":        frame(Credit, 0, 1, "\x00\x00\x00\x01"),
		"credit for an output":      frame(Credit, 1, 1, "\x00\x00\x00\x00"),
		"much credit":               frame(Credit, 0, 1, "\xff\xff\xff\xff"),
		"exit that is no object":    frame(Exit, 0, 1, "7"),
		"exit status 256":           frame(Exit, 0, 1, `{"code":256}`),
		"exit status below 0":       frame(Exit, 0, 1, `{"code":-1}`),
		"signal 65":                 frame(Exit, 0, 1, `{"signal":65}`),
		"greeting that is none":     frame(Hello, 0, 0, "hello"),
		"another version":           frame(Hello, 0, 0, `{"version":2}`),
		"two greetings":             join(frame(Hello, 0, 0, hello), frame(Hello, 0, 0, hello)),
		"ready before the greeting": frame(Ready, 0, 0, ""),
		"ready twice":               join(frame(Hello, 0, 0, hello), frame(Ready, 0, 0, ""), frame(Ready, 0, 0, "")),
		"a fault":                   frame(Fault, 0, 0, "no \x1b[31mroot"),
	}
}

// TestHostile: each of them ends the connection with an error and every session
// with it, and what is said of it does nothing to a terminal.
func TestHostile(t *testing.T) {
	for name, b := range hostile() {
		t.Run(name, func(t *testing.T) {
			h := NewHost(discard{bytes.NewReader(b)})
			s, err := h.Open(Command{})
			if err != nil {
				t.Fatal(err)
			}
			err = h.Serve()
			if err == nil {
				t.Fatal("it is accepted")
			}
			if strings.ContainsFunc(err.Error(), func(c rune) bool { return c < 0x20 || c == 0x7f }) {
				t.Errorf("%q", err)
			}
			wait(t, s.Ended(), "end of the session")
		})
	}
}

// FuzzHost: whatever a guest says, the host keeps no more than a window of each
// stream, and ends.
func FuzzHost(f *testing.F) {
	for _, b := range hostile() {
		f.Add(b)
	}
	f.Add(join(frame(Hello, 0, 0, `{"version":1}`), frame(Ready, 0, 0, ""), frame(Data, 1, 1, "out"), frame(Data, 2, 1, "err"),
		frame(EOF, 1, 1, ""), frame(EOF, 2, 1, ""), frame(Exit, 0, 1, `{"code":3}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := NewHost(discard{bytes.NewReader(b)})
		s, err := h.Open(Command{})
		if err != nil {
			t.Fatal(err)
		}
		_ = h.Serve()
		<-s.Ended()
		for _, r := range s.out {
			if r.size > Window {
				t.Errorf("%d bytes are kept", r.size)
			}
		}
		if r, err := s.Result(); err == nil && (r.Code < 0 || r.Code > 255 || r.Signal < 0 || r.Signal > 64 || len(r.Error) > 4*maxError) {
			t.Errorf("%+v", r)
		}
	})
}

// FuzzFrame: what is sent is what is received.
func FuzzFrame(f *testing.F) {
	f.Add(byte(Data), byte(1), uint32(3), []byte("text"))
	f.Add(byte(Exit), byte(0), uint32(1), []byte("{}"))
	f.Fuzz(func(t *testing.T, kind, stream byte, session uint32, body []byte) {
		in := Frame{Kind: Kind(kind), Stream: stream, Session: session, Body: body}
		var b bytes.Buffer
		c := newConn(&b, ofGuest)
		if err := c.send(in); err != nil {
			if len(body) <= MaxBody {
				t.Fatal(err)
			}
			return
		}
		out, err := c.receive()
		if ok := stream <= 2 && ofGuest.sends(Kind(kind)); ok != (err == nil) {
			t.Fatalf("%+v: %v", in, err)
		}
		if err == nil && (out.Kind != in.Kind || out.Stream != stream || out.Session != session || !bytes.Equal(out.Body, body)) {
			t.Fatalf("%+v has become %+v", in, out)
		}
	})
}
