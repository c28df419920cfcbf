// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxSessions is how many programs of one machine run at once.
const maxSessions = 64

// Host is the supervisor's end. Serve has to run for anything to happen.
type Host struct {
	c *conn

	mu       sync.Mutex
	sessions map[uint32]*Session
	last     uint32
	gone     bool

	hello, ready chan struct{}
	greeted, up  bool // hello, ready are closed; only Serve looks
}

// Session is a program that the guest runs.
type Session struct {
	h   *Host
	id  uint32
	in  *sender
	out [2]*receiver
	// ended is closed when result is known.
	ended  chan struct{}
	result Result
	lost   bool // the machine has ended before the program
}

// ErrGone says that the machine has ended.
var ErrGone = errors.New("the virtual machine has ended")

// NewHost speaks over rw.
func NewHost(rw io.ReadWriter) *Host {
	return &Host{
		c: newConn(rw, ofGuest), sessions: map[uint32]*Session{},
		hello: make(chan struct{}), ready: make(chan struct{}),
	}
}

// Hello is closed when the guest has said that it runs.
func (h *Host) Hello() <-chan struct{} { return h.hello }

// Ready is closed when the guest has done what Setup asks.
func (h *Host) Ready() <-chan struct{} { return h.ready }

// Serve handles what the guest says until it ends or errs. Every session has
// ended then.
func (h *Host) Serve() error {
	err := h.serve()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	for id, s := range h.sessions {
		s.lost = true
		s.finish()
		delete(h.sessions, id)
	}
	return err
}

func (h *Host) serve() error {
	for {
		f, err := h.c.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := h.handle(f); err != nil {
			return err
		}
	}
}

func (h *Host) handle(f Frame) error {
	switch f.Kind {
	case Hello:
		var g Greeting
		if err := json.Unmarshal(f.Body, &g); err != nil || h.greeted {
			return fmt.Errorf("%w: greeting", ErrProtocol)
		}
		if g.Version != Version {
			return fmt.Errorf("the guest speaks version %d of the protocol, not %d", g.Version, Version)
		}
		h.greeted = true
		close(h.hello)
		return nil
	case Ready:
		if h.up || !h.greeted {
			return fmt.Errorf("%w: ready twice, or before it has begun", ErrProtocol)
		}
		h.up = true
		close(h.ready)
		return nil
	case Fault:
		return fmt.Errorf("the guest cannot go on: %s", printable(string(f.Body)))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sessions[f.Session]
	if s == nil {
		return fmt.Errorf("%w: session %d", ErrProtocol, f.Session)
	}
	return s.handle(f)
}

// handle is called with the lock of the host's end held.
func (s *Session) handle(f Frame) error {
	switch f.Kind {
	case Data, EOF:
		if f.Stream == 0 {
			return fmt.Errorf("%w: the guest writes what it reads", ErrProtocol)
		}
		r := s.out[f.Stream-1]
		if f.Kind == EOF {
			r.end()
			return nil
		}
		return r.put(f.Body)
	case Credit:
		if f.Stream != 0 {
			return fmt.Errorf("%w: credit for stream %d", ErrProtocol, f.Stream)
		}
		return s.in.grant(f.Body)
	default: // Exit: receive lets nothing else pass
		r, err := parseResult(f.Body)
		if err != nil {
			return err
		}
		s.result = r
		delete(s.h.sessions, s.id)
		s.finish()
		return nil
	}
}

func (s *Session) finish() {
	s.in.stop()
	s.out[0].end()
	s.out[1].end()
	close(s.ended)
}

// Setup tells the guest what to make ready.
func (h *Host) Setup(p Pod) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	// A pod manifest may be larger than a frame: it comes in pieces, the last of
	// which is shorter than the largest.
	for ; len(body) >= MaxBody; body = body[MaxBody:] {
		if err := h.c.send(Frame{Kind: Setup, Body: body[:MaxBody]}); err != nil {
			return err
		}
	}
	return h.c.send(Frame{Kind: Setup, Body: body})
}

// Off powers the machine off.
func (h *Host) Off() error { return h.c.send(Frame{Kind: Off}) }

// Open starts a program. ErrGone: the machine has ended.
func (h *Host) Open(cmd Command) (*Session, error) {
	body, err := json.Marshal(cmd)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	if h.gone {
		h.mu.Unlock()
		return nil, ErrGone
	}
	if len(h.sessions) >= maxSessions {
		h.mu.Unlock()
		return nil, fmt.Errorf("%d programs of rkt run in the virtual machine already", maxSessions)
	}
	h.last++
	s := &Session{h: h, id: h.last, ended: make(chan struct{})}
	s.in = newSender(h.c, s.id, 0)
	s.out = [2]*receiver{newReceiver(h.c, s.id, 1), newReceiver(h.c, s.id, 2)}
	h.sessions[s.id] = s
	h.mu.Unlock()
	if err := h.c.send(Frame{Kind: Open, Session: s.id, Body: body}); err != nil {
		return nil, errors.Join(ErrGone, err)
	}
	return s, nil
}

// Stdin is the program's standard input, to be closed at its end.
func (s *Session) Stdin() io.WriteCloser { return s.in }

// CopyOutput writes what the program writes to stream 1 or 2, until its end.
func (s *Session) CopyOutput(stream int, w io.Writer) error { return s.out[stream-1].copyTo(w) }

// Signal sends it a signal.
func (s *Session) Signal(sig byte) error {
	return s.h.c.send(Frame{Kind: Signal, Session: s.id, Body: []byte{sig}})
}

// Resize tells it the size of its terminal.
func (s *Session) Resize(rows, cols uint16) error {
	b := binary.BigEndian.AppendUint16(nil, rows)
	return s.h.c.send(Frame{Kind: Resize, Session: s.id, Body: binary.BigEndian.AppendUint16(b, cols)})
}

// Ended is closed when the program has ended.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Result is how it has ended, after Ended. ErrGone: the machine has ended first.
func (s *Session) Result() (Result, error) {
	<-s.ended
	if s.lost {
		return Result{}, ErrGone
	}
	return s.result, nil
}
