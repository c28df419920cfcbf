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

// Guest is the end inside the machine.
type Guest struct {
	c   *conn
	run func(*Task)

	mu    sync.Mutex
	tasks map[uint32]*Task
}

// Task is a program that the host wants to be run.
type Task struct {
	Command Command
	g       *Guest
	id      uint32
	in      *receiver
	out     [2]*sender
	control chan Frame
	done    chan struct{} // closed by End
}

// maxPod bounds what Setup may be.
const maxPod = 16 << 20

// ErrOff says that the host wants the machine to be powered off.
var ErrOff = errors.New("power off")

// NewGuest speaks over rw; run runs a task, each on a goroutine of its own.
func NewGuest(rw io.ReadWriter, run func(*Task)) *Guest {
	return &Guest{c: newConn(rw, ofHost), run: run, tasks: map[uint32]*Task{}}
}

// Begin greets the host and returns what it wants.
func (g *Guest) Begin() (Pod, error) {
	body, err := json.Marshal(Greeting{Version: Version})
	if err != nil {
		return Pod{}, err
	}
	if err := g.c.send(Frame{Kind: Hello, Body: body}); err != nil {
		return Pod{}, err
	}
	var all []byte
	for {
		f, err := g.c.receive()
		switch {
		case err != nil:
			return Pod{}, err
		case f.Kind == Off:
			return Pod{}, ErrOff
		case f.Kind != Setup || len(all)+len(f.Body) > maxPod:
			return Pod{}, fmt.Errorf("%w: kind %d before it is set up", ErrProtocol, f.Kind)
		}
		all = append(all, f.Body...)
		if len(f.Body) < MaxBody {
			break
		}
	}
	var p Pod
	if err := json.Unmarshal(all, &p); err != nil {
		return p, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return p, nil
}

// Ready says that everything is made ready.
func (g *Guest) Ready() error { return g.c.send(Frame{Kind: Ready}) }

// Fault says why the machine is of no use.
func (g *Guest) Fault(err error) {
	text := err.Error()
	_ = g.c.send(Frame{Kind: Fault, Body: []byte(text[:min(len(text), maxError)])})
}

// Serve runs what the host wants until that is ErrOff or cannot be understood.
func (g *Guest) Serve() error {
	for {
		f, err := g.c.receive()
		if err != nil {
			return err
		}
		switch f.Kind {
		case Off:
			return ErrOff
		case Open:
			if err := g.open(f); err != nil {
				return err
			}
		default:
			g.mu.Lock()
			t := g.tasks[f.Session]
			g.mu.Unlock()
			if t == nil {
				continue // it has just ended
			}
			if err := t.handle(f); err != nil {
				return err
			}
		}
	}
}

func (g *Guest) open(f Frame) error {
	t := &Task{g: g, id: f.Session, in: newReceiver(g.c, f.Session, 0), control: make(chan Frame, 64), done: make(chan struct{})}
	if err := json.Unmarshal(f.Body, &t.Command); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	t.out = [2]*sender{newSender(g.c, f.Session, 1), newSender(g.c, f.Session, 2)}
	g.mu.Lock()
	g.tasks[t.id] = t
	g.mu.Unlock()
	go g.run(t)
	return nil
}

func (t *Task) handle(f Frame) error {
	switch f.Kind {
	case Data:
		return t.in.put(f.Body)
	case EOF:
		t.in.end()
	case Credit:
		if f.Stream == 0 {
			return fmt.Errorf("%w: credit for stream 0", ErrProtocol)
		}
		return t.out[f.Stream-1].grant(f.Body)
	case Signal, Resize:
		select {
		case t.control <- f:
		default: // a program that takes no more signals misses some, as any does
		}
	}
	return nil
}

// CopyInput writes what the host sends to w until its end.
func (t *Task) CopyInput(w io.Writer) error { return t.in.copyTo(w) }

// Output is stream 1 or 2.
func (t *Task) Output(stream int) io.WriteCloser { return t.out[stream-1] }

// Control calls the functions for what the host asks until the task has ended.
func (t *Task) Control(signal func(int), resize func(rows, cols uint16)) {
	for {
		var f Frame
		select {
		case <-t.done:
			return
		case f = <-t.control:
		}
		switch {
		case f.Kind == Signal && len(f.Body) == 1:
			signal(int(f.Body[0]))
		case f.Kind == Resize && len(f.Body) == 4:
			resize(binary.BigEndian.Uint16(f.Body), binary.BigEndian.Uint16(f.Body[2:]))
		}
	}
}

// End tells how the program has ended. Its outputs have been closed before.
func (t *Task) End(r Result) error {
	t.g.mu.Lock()
	delete(t.g.tasks, t.id)
	t.g.mu.Unlock()
	t.in.end()
	close(t.done)
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return t.g.c.send(Frame{Kind: Exit, Session: t.id, Body: body})
}
