// SPDX-License-Identifier: Apache-2.0

// Package units writes what the systemd inside a pod reads: one service for
// each app and the target that wants them. It is pure.
//
// The name of an app, which is an AC name, is the only text of a manifest that
// gets into a unit as it is; everything else goes through unit.Text. The commands
// of the apps are not in the units: the program /launch reads them from a file.
//
// Invariant: whatever the text, systemd reads the same directives from a unit
// (systemd.syntax(7)).
//
// Source: spec stage1-flavors.md A.7 and E.1.
package units

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/unit"
)

// Dir is where units are, below the root of stage1.
const Dir = "usr/lib/systemd/system"

// Target is the unit that the pod boots into.
const Target = "default.target"

// maxName is the longest app name: unit file names have 255 bytes at most.
const maxName = 200

// ErrReserved is wrapped by CheckName.
var ErrReserved = errors.New("the name is reserved for units of the pod itself")

// CheckName refuses app names whose unit would be another of the pod's.
func CheckName(app string) error {
	if len(app) > maxName {
		return fmt.Errorf("app name of %d characters: the longest is %d", len(app), maxName)
	}
	if strings.HasPrefix(app, "systemd-") || app == "dbus" {
		return fmt.Errorf("app name %q: %w", app, ErrReserved)
	}
	return nil
}

// Service is the unit name of an app.
func Service(app string) string { return app + ".service" }

// App is what the unit of an app says.
type App struct {
	Name, Image string
	Notify      bool // sd_notify(3) of its own
	PostStop    bool // has handlers
	Socket      bool // has sockets that systemd listens on
	// Limits are settings of the unit, on a host whose controllers are all on
	// v2; nil elsewhere.
	Limits *isolator.Plan
	// Before the app is started: units to wait for.
	After []string
}

// Unit returns the text of the unit.
func (a App) Unit() string {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + "=" + value + "\n") }
	b.WriteString("[Unit]\n")
	line("Description", unit.Text("Application="+a.Name+" Image="+a.Image))
	line("DefaultDependencies", "no")
	// What brings the pod down stops the app first.
	line("Conflicts", "shutdown.target")
	line("Before", "shutdown.target")
	for _, u := range a.After {
		line("After", u)
		line("Wants", u)
	}
	if a.Socket {
		line("Requires", SocketUnit(a.Name))
		line("After", SocketUnit(a.Name))
	}
	// The journal's sockets are there before the first app; journald itself
	// starts when somebody writes to one.
	line("Wants", "systemd-journald.socket systemd-journald-dev-log.socket")
	line("After", "systemd-journald.socket systemd-journald-dev-log.socket")
	b.WriteString("\n[Service]\n")
	if a.Notify {
		line("Type", "notify")
		line("NotifyAccess", "all")
	}
	line("ExecStart", "/launch "+a.Name)
	if a.PostStop {
		line("ExecStopPost", "/post-stop "+a.Name)
	}
	line("Restart", "no")
	line("TimeoutStartSec", "0")
	line("IgnoreSIGPIPE", "no")
	// One process killed for want of memory is the app's own affair.
	line("OOMPolicy", "continue")
	line("SyslogIdentifier", a.Name)
	line("StandardInput", "null")
	line("StandardOutput", "null")
	line("StandardError", "null")
	a.limits(line)
	return b.String()
}

func (a App) limits(line func(key, value string)) {
	l := a.Limits
	if l == nil {
		return
	}
	number := func(key string, n int64) {
		if n > 0 {
			line(key, strconv.FormatInt(n, 10))
		}
	}
	// Accounting keeps the controllers of the app's cgroup enabled.
	if l.Memory != nil {
		line("MemoryAccounting", "yes")
		number("MemoryLow", l.Memory.Request)
		if l.Memory.Limit > 0 {
			number("MemoryMax", l.Memory.Limit)
			line("MemorySwapMax", "0")
		}
	}
	if l.CPU != nil || l.CPUShares != nil {
		line("CPUAccounting", "yes")
	}
	if l.CPU != nil && l.CPU.Limit > 0 {
		// systemd takes hundredths of a percent: a thousandth of a core is 0.1 %.
		line("CPUQuota", fmt.Sprintf("%d.%d%%", l.CPU.Limit/10, l.CPU.Limit%10))
	}
	switch {
	case l.CPUShares != nil:
		number("CPUWeight", weight(l.CPUShares.Value))
	case l.CPU != nil && l.CPU.Request > 0:
		number("CPUWeight", weight(min(max(l.CPU.Request*1024/1000, 2), 262144)))
	}
	if l.Pids != nil && l.Pids.Limit > 0 {
		line("TasksAccounting", "yes")
		number("TasksMax", l.Pids.Limit)
	}
	if l.IOWeight != nil {
		line("IOAccounting", "yes")
		number("IOWeight", l.IOWeight.Value)
	}
}

// weight turns cpu shares into the weight of v2 (spec stage1-flavors.md E.1).
func weight(shares int64) int64 { return min(max(1+(shares-2)*9999/262142, 1), 10000) }

// DefaultTarget returns the unit that the pod boots into.
func DefaultTarget(apps []string) string {
	var b strings.Builder
	b.WriteString("[Unit]\nDescription=Pod\nDefaultDependencies=no\nAllowIsolate=yes\nConflicts=shutdown.target\n")
	b.WriteString("Wants=sockets.target\n")
	for _, a := range apps {
		b.WriteString("Wants=" + Service(a) + "\n")
	}
	return b.String()
}
