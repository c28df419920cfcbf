// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// sender is a stream that this end writes: a window of it at most is on its way.
type sender struct {
	c       *conn
	session uint32
	stream  byte

	mu     sync.Mutex
	more   *sync.Cond
	credit int
	over   bool // nobody reads it any more
}

func newSender(c *conn, session uint32, stream byte) *sender {
	s := &sender{c: c, session: session, stream: stream, credit: Window}
	s.more = sync.NewCond(&s.mu)
	return s
}

// Write waits until the other end has room.
func (s *sender) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		n, err := s.take(min(len(p), MaxBody))
		if err != nil {
			return done, err
		}
		if err := s.c.send(Frame{Kind: Data, Session: s.session, Stream: s.stream, Body: p[:n]}); err != nil {
			return done, err
		}
		done, p = done+n, p[n:]
	}
	return done, nil
}

// take takes up to n bytes of the credit.
func (s *sender) take(n int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.credit == 0 && !s.over {
		s.more.Wait()
	}
	if s.over {
		return 0, io.ErrClosedPipe
	}
	n = min(n, s.credit)
	s.credit -= n
	return n, nil
}

// grant adds what the other end has taken.
func (s *sender) grant(body []byte) error {
	if len(body) != 4 {
		return fmt.Errorf("%w: a credit of %d bytes", ErrProtocol, len(body))
	}
	n := binary.BigEndian.Uint32(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > Window || s.credit+int(n) > Window {
		return fmt.Errorf("%w: credit for what was never sent", ErrProtocol)
	}
	s.credit += int(n)
	s.more.Broadcast()
	return nil
}

// stop makes every Write fail.
func (s *sender) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.more.Broadcast()
}

// Close ends the stream.
func (s *sender) Close() error {
	return s.c.send(Frame{Kind: EOF, Session: s.session, Stream: s.stream})
}

// receiver is a stream that the other end writes.
type receiver struct {
	c       *conn
	session uint32
	stream  byte

	mu    sync.Mutex
	more  *sync.Cond
	queue [][]byte
	size  int
	over  bool // nothing more comes
}

func newReceiver(c *conn, session uint32, stream byte) *receiver {
	r := &receiver{c: c, session: session, stream: stream}
	r.more = sync.NewCond(&r.mu)
	return r
}

// put keeps what has arrived.
func (r *receiver) put(b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.size+len(b) > Window {
		return fmt.Errorf("%w: more of a stream than its window", ErrProtocol)
	}
	if len(b) > 0 { // nothing is no data, and would never be paid for
		r.queue, r.size = append(r.queue, b), r.size+len(b)
		r.more.Broadcast()
	}
	return nil
}

// end tells that nothing more comes.
func (r *receiver) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	r.more.Broadcast()
}

// next waits for data; nil is the end.
func (r *receiver) next() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) == 0 && !r.over {
		r.more.Wait()
	}
	if len(r.queue) == 0 {
		return nil
	}
	b := r.queue[0]
	r.queue = r.queue[1:]
	return b
}

// taken tells the other end that there is room. After the end of the stream it
// does not: the other end may have forgotten the session.
func (r *receiver) taken(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size -= n
	if r.over {
		return nil
	}
	return r.c.send(Frame{Kind: Credit, Session: r.session, Stream: r.stream, Body: binary.BigEndian.AppendUint32(nil, uint32(n))})
}

// copyTo writes all of the stream to w. What w does not take is thrown away:
// the other end must not wait for a reader that has gone. It returns the first
// error of w.
func (r *receiver) copyTo(w io.Writer) (err error) {
	for b := r.next(); b != nil; b = r.next() {
		if err == nil {
			_, err = w.Write(b)
		}
		if r.taken(len(b)) != nil {
			return err // the machine is gone; what has arrived was written
		}
	}
	return err
}
