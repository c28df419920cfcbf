// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Kind says what a frame is about.
type Kind byte

// The kinds. In brackets: who sends it, and what its body is.
const (
	Hello  Kind = iota + 1 // guest; JSON Greeting
	Setup                  // host; JSON Pod
	Ready                  // guest; none
	Fault                  // guest; text: why the machine is of no use
	Open                   // host; JSON Command
	Data                   // both; bytes of a stream
	EOF                    // both; none: the stream ends
	Credit                 // both; 4 bytes: so much of the stream was taken
	Signal                 // host; 1 byte: number of a signal
	Resize                 // host; rows and columns, 2 bytes each
	Exit                   // guest; JSON Result
	Off                    // host; none
)

// MaxBody is the size of the largest body.
const MaxBody = 64 << 10

// Window is how much of a stream may be on its way.
const Window = 256 << 10

const headerSize = 12

// ErrProtocol says that the other end does not keep to the protocol.
var ErrProtocol = errors.New("the protocol of the agent is violated")

// Frame is one message.
type Frame struct {
	Kind    Kind
	Stream  byte
	Session uint32
	Body    []byte
}

// side is one end of a connection.
type side bool

const (
	ofHost  side = true
	ofGuest side = false
)

// sends tells whether an end sends frames of a kind.
func (s side) sends(k Kind) bool {
	switch k {
	case Data, EOF, Credit:
		return true
	case Setup, Open, Signal, Resize, Off:
		return s == ofHost
	case Hello, Ready, Fault, Exit:
		return s == ofGuest
	}
	return false
}

// conn sends and receives frames. send may be called by several at once.
type conn struct {
	peer side
	r    *bufio.Reader
	mu   sync.Mutex
	w    io.Writer
}

func newConn(rw io.ReadWriter, peer side) *conn {
	return &conn{peer: peer, r: bufio.NewReaderSize(rw, MaxBody), w: rw}
}

func (c *conn) send(f Frame) error {
	if len(f.Body) > MaxBody {
		return fmt.Errorf("%w: a body of %d bytes", ErrProtocol, len(f.Body))
	}
	b := make([]byte, headerSize, headerSize+len(f.Body))
	b[0], b[1] = byte(f.Kind), f.Stream
	binary.BigEndian.PutUint32(b[4:], f.Session)
	binary.BigEndian.PutUint32(b[8:], uint32(len(f.Body)))
	b = append(b, f.Body...)
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(b) > 0 { // a port takes what its queue has room for
		n, err := c.w.Write(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// receive reads a frame that the peer may send. io.EOF: it has ended between
// two frames.
func (c *conn) receive() (Frame, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Kind: Kind(h[0]), Stream: h[1], Session: binary.BigEndian.Uint32(h[4:])}
	size := binary.BigEndian.Uint32(h[8:])
	switch {
	case !c.peer.sends(f.Kind):
		return f, fmt.Errorf("%w: kind %d", ErrProtocol, f.Kind)
	case f.Stream > 2, h[2] != 0, h[3] != 0:
		return f, fmt.Errorf("%w: stream %d", ErrProtocol, f.Stream)
	case size > MaxBody:
		return f, fmt.Errorf("%w: a body of %d bytes", ErrProtocol, size)
	}
	if size > 0 {
		f.Body = make([]byte, size)
		if _, err := io.ReadFull(c.r, f.Body); err != nil {
			return f, fmt.Errorf("%w: a body that is cut off: %w", ErrProtocol, err)
		}
	}
	return f, nil
}
