// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// Version is that of the protocol.
const Version = 1

// Greeting is what the guest begins with.
type Greeting struct {
	Version int `json:"version"`
}

// Pod is what the guest makes ready before it starts anything.
type Pod struct {
	UUID string `json:"uuid"`
	// Manifest is the pod manifest as the guest is to see it: its volumes are
	// where the guest has them.
	Manifest json.RawMessage `json:"manifest"`
	// Files are files of the guest's own root, by absolute path.
	Files map[string][]byte `json:"files,omitempty"`
	// Answer is what the networking program of the host has said.
	Answer     json.RawMessage `json:"answer,omitempty"`
	Interfaces []Interface     `json:"interfaces,omitempty"`
}

// Interface is a network card of the machine.
type Interface struct {
	Name      string         `json:"name"`
	MAC       string         `json:"mac"`
	MTU       int            `json:"mtu"`
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Routes    []Route        `json:"routes,omitempty"`
}

// Route is a way out through an interface; Gateway is not valid where Dst is
// reached without one.
type Route struct {
	Dst     netip.Prefix `json:"dst"`
	Gateway netip.Addr   `json:"gateway"`
	Metric  int          `json:"metric,omitempty"`
}

// Command is a program of stage1 that the guest runs in the pod directory.
type Command struct {
	// Program is its name: one of those that the guest knows.
	Program string `json:"program"`
	// Args are its arguments without its name. LeaderArg in one of them stands
	// for the process ID of the pod's PID 1 as the guest numbers it.
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"`
	// TTY gives it a terminal as all of its standard streams.
	TTY  bool   `json:"tty,omitempty"`
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
}

// LeaderArg in an argument or a variable of a Command is replaced by the guest.
const LeaderArg = "@leader@"

// Result is how a program has ended.
type Result struct {
	Code   int    `json:"code"`
	Signal int    `json:"signal,omitempty"`
	Error  string `json:"error,omitempty"` // why it was not started
}

// maxError is how much of the text of a guest is believed.
const maxError = 4 << 10

// parseResult reads the body of an Exit.
func parseResult(b []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%w: how a program has ended: %w", ErrProtocol, err)
	}
	const maxCode, maxSignal = 255, 64
	if r.Code < 0 || r.Code > maxCode || r.Signal < 0 || r.Signal > maxSignal {
		return r, fmt.Errorf("%w: exit status %d, signal %d", ErrProtocol, r.Code, r.Signal)
	}
	r.Error = printable(r.Error)
	return r, nil
}

// printable makes text of a guest one line that does nothing to a terminal.
func printable(s string) string {
	if len(s) > maxError {
		s = s[:maxError]
	}
	out := make([]rune, 0, len(s))
	for _, c := range s {
		if c < 0x20 || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029' {
			c = ' '
		}
		out = append(out, c)
	}
	return string(out)
}
