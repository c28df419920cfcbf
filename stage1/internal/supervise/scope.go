// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// newScope is how to get a scope for the pod from the host's systemd; nil
// where that is not PID 1.
func (p *pod) newScope() func(pids []int) error {
	if !exists("/run/systemd/system") || !exists(privateBus) {
		return nil
	}
	return func(pids []int) error { return startScope(p.call.UUID.Scope(), "rkt pod "+p.call.UUID.String(), pids) }
}

// property is one of a unit, as StartTransientUnit takes it
// (org.freedesktop.systemd1(5)).
type property struct {
	Name  string
	Value dbus.Variant
}

// startScope puts processes, the calling one among them, into a new scope of the
// host's systemd, which leaves alone what is made below it. It is gone when its
// last process is.
func startScope(name, description string, pids []int) error {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: privateBus, Net: "unix"})
	if err != nil {
		return fmt.Errorf("reach the systemd of the host: %w", err)
	}
	conn, err := dbus.NewConn(c)
	if err != nil {
		return errors.Join(fmt.Errorf("reach the systemd of the host: %w", err), c.Close())
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal("0")}); err != nil {
		return fmt.Errorf("reach the systemd of the host: %w", err)
	}
	var numbers []uint32
	for _, pid := range pids {
		numbers = append(numbers, uint32(pid))
	}
	properties := []property{
		{"Description", dbus.MakeVariant(description)},
		{"Slice", dbus.MakeVariant("machine.slice")},
		{"PIDs", dbus.MakeVariant(numbers)},
		{"Delegate", dbus.MakeVariant(true)},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
		{"TasksMax", dbus.MakeVariant(uint64(math.MaxUint64))},
	}
	ctx, cancel := context.WithTimeout(context.Background(), busPatience)
	defer cancel()
	systemd := conn.Object(busName, busPath)
	asked := systemd.GoWithContext(ctx, busManager+".StartTransientUnit", 0, make(chan *dbus.Call, 1), name, "fail", properties, []struct {
		Name       string
		Properties []property
	}{})
	answer := asked.Done
	for { // what is asked for is a job; the processes are moved when it is done
		select {
		case <-answer:
			if asked.Err != nil {
				return fmt.Errorf("scope of the pod: %w", asked.Err)
			}
			answer = nil
		case <-ctx.Done():
			return fmt.Errorf("scope of the pod: %w", ctx.Err())
		case <-time.After(scopePace):
		}
		own, err := os.ReadFile("/proc/self/cgroup")
		if err != nil || inGroup(string(own), name) {
			return err
		}
		// systemd overlooks what arrives together with the last line of the
		// authentication, until something else arrives.
		systemd.GoWithContext(ctx, "org.freedesktop.DBus.Peer.Ping", 0, make(chan *dbus.Call, 1))
	}
}

// scopePace is how often to look whether a scope has this process.
const scopePace = 3 * time.Millisecond

// inGroup tells whether one of the cgroups of a process is called name.
func inGroup(cgroups, name string) bool {
	for line := range strings.Lines(cgroups) {
		if path.Base(strings.TrimSuffix(line, "\n")) == name {
			return true
		}
	}
	return false
}
