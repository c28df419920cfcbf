// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// errPodEnds says that the systemd of the pod answers no more because the pod
// ends by itself.
var errPodEnds = errors.New("the pod is ending")

// isGone tells whether a call has failed because the connection is no more, not
// because systemd refused or was too slow.
func isGone(err error) bool {
	var op *net.OpError
	return errors.Is(err, dbus.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) ||
		errors.Is(err, net.ErrClosed) || errors.As(err, &op)
}

// ask asks the systemd of the pod something, again if it has closed the
// connection meanwhile: it does when it executes itself anew, which is what it
// makes of SIGTERM (systemd(1)). Every process of a unit with
// KillMode=control-group gets that, the pod's PID 1 among them.
func (s *supervisor) ask(question func(*Bus) error) error {
	s.mu.Lock()
	bus := s.bus
	s.mu.Unlock()
	for {
		err := question(bus)
		if err == nil || !isGone(err) || s.ctx.Err() != nil {
			return err
		}
		if bus, err = s.redial(bus); err != nil {
			return err
		}
	}
}

// redial replaces a connection that is no more, once for all who notice.
func (s *supervisor) redial(old *Bus) (*Bus, error) {
	const pace = 20 * time.Millisecond
	s.redialing.Lock()
	defer s.redialing.Unlock()
	var last error
	for end := time.Now().Add(endPatience); time.Now().Before(end); {
		s.mu.Lock()
		bus, leader := s.bus, s.leader
		s.mu.Unlock()
		if bus != old {
			return bus, nil
		}
		if bus, last = DialBus(leader); last == nil {
			if last = bus.in(s.ctx); last == nil {
				s.mu.Lock()
				s.bus = bus
				s.mu.Unlock()
				old.Close()
				return bus, nil
			}
			bus.Close()
		}
		select {
		case <-s.child.done:
			return nil, errPodEnds
		case <-s.ctx.Done():
			return nil, errPodEnds
		case <-time.After(pace):
		}
	}
	return nil, last
}
