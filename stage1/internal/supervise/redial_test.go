// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

func TestIsGone(t *testing.T) {
	for _, err := range []error{
		dbus.ErrClosed, io.EOF, unix.EPIPE,
		fmt.Errorf("state of unit a.service: %w", &net.OpError{Op: "read", Net: "unix", Err: os.NewSyscallError("read", unix.ECONNRESET)}),
	} {
		if !isGone(err) {
			t.Errorf("%v", err)
		}
	}
	for _, err := range []error{ErrNoUnit, context.DeadlineExceeded, context.Canceled, dbus.Error{Name: busNoUnit}} {
		if isGone(err) {
			t.Errorf("%v", err)
		}
	}
}

// TestAskAgain: an error that is an answer is not asked again, and nobody asks
// a pod that has ended.
func TestAskAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &supervisor{ctx: ctx, child: &child{done: make(chan struct{})}}
	asked := 0
	if err := s.ask(func(*Bus) error { asked++; return ErrNoUnit }); !errors.Is(err, ErrNoUnit) || asked != 1 {
		t.Errorf("%v after %d", err, asked)
	}
	close(s.child.done)
	s.leader = 1 << 30 // nobody
	if err := s.ask(func(*Bus) error { return io.EOF }); !errors.Is(err, errPodEnds) {
		t.Errorf("%v", err)
	}
}

// TestDown: what systemd signals when it brings the pod down, and what it has
// said of a service before.
func TestDown(t *testing.T) {
	b := &Bus{last: map[dbus.ObjectPath]UnitState{}, changed: map[dbus.ObjectPath]chan struct{}{}}
	b.remember(&dbus.Signal{Path: busPath, Name: busManager + ".JobNew", Body: []any{uint32(1), dbus.ObjectPath("/j/1"), "app.service"}})
	if b.Down() {
		t.Error("a job for an app")
	}
	b.remember(&dbus.Signal{Path: busPath, Name: busManager + ".JobNew", Body: []any{uint32(2), dbus.ObjectPath("/j/2"), "shutdown.target"}})
	if !b.Down() {
		t.Error("not noticed")
	}
	b.remember(&dbus.Signal{Path: unitPath("app.service"), Name: busProps + ".PropertiesChanged", Body: []any{busService, map[string]dbus.Variant{
		"ExecMainPID": dbus.MakeVariant(uint32(7)), "ExecMainCode": dbus.MakeVariant(int32(1)), "ExecMainStatus": dbus.MakeVariant(int32(3)),
	}}})
	if u := b.Last("app.service"); u.PID != 7 || u.Code != 1 || u.Status != 3 {
		t.Errorf("%+v", u)
	}
	if u := b.Last("other.service"); u != (UnitState{}) {
		t.Errorf("%+v", u)
	}
}
