// SPDX-License-Identifier: Apache-2.0

// Package call is how the supervisor of a pod has its networks set up: it
// starts the program that does it, and meets its answer later. It links
// nothing of what that program needs, because the supervisor stays as long as
// the pod. Source: ADR 15.
package call

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Program is where stage1 has the program, below its root.
const Program = "usr/lib/rkt/net"

// Request is what a pod is to get. The program reads it, as JSON, from its
// standard input; its working directory is the pod directory.
type Request struct {
	UUID       poddir.UUID `json:"uuid"`
	Net        string      `json:"net"`        // list of --net
	ConfigDirs []string    `json:"configDirs"` // in rising order of what counts
	NetNS      string      `json:"netns"`      // path of the pinned namespace
	Ports      []Port      `json:"ports,omitempty"`
	Debug      bool        `json:"debug,omitempty"`
}

// Port is a port of the host that is forwarded to one of the pod's.
type Port struct {
	Name     string     `json:"name"`
	Proto    string     `json:"proto"` // tcp, udp or sctp
	HostIP   netip.Addr `json:"hostIP"`
	HostPort uint16     `json:"hostPort"`
	PodPort  uint16     `json:"podPort"`
}

// Answer is what the program writes to its standard output.
type Answer struct {
	// Error is why there are no networks; the other fields are empty then.
	Error string `json:"error,omitempty"`
	DNS   *DNS   `json:"dns,omitempty"` // what a network says, nil if none does
	// HostIP is the host's address on the network that ports are forwarded to.
	HostIP netip.Addr `json:"hostIP"`
	// Pod4 and Pod6 are the pod's addresses there.
	Pod4 netip.Addr `json:"pod4"`
	Pod6 netip.Addr `json:"pod6"`
}

// DNS is the resolver configuration that a network gives a pod.
type DNS struct {
	Network     string   `json:"network"`
	Nameservers []string `json:"nameservers,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	Search      []string `json:"search,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// Call is a running program.
type Call struct {
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan error
}

// LockFD is the descriptor with the pod's lock that the program inherits: a pod
// is not collected while its networks are being set up.
const LockFD = 3

// Start starts the program below the root of stage1. If the calling thread
// ends, the program rolls back.
func Start(stage1 string, lock *os.File, r Request) (*Call, error) {
	in, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	path := stage1 + "/" + Program
	c := &Call{cmd: exec.Command(path, "setup"), done: make(chan error, 1)}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = bytes.NewReader(in), &c.out, os.Stderr
	c.cmd.Args[0] = "net"
	c.cmd.ExtraFiles = []*os.File{lock} // LockFD
	// A group of its own: ^C at the terminal goes to the supervisor, which lets
	// the set-up end or be rolled back.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("failed to setup network: %w", err)
	}
	go func() { c.done <- c.cmd.Wait() }()
	return c, nil
}

// Wait returns the answer. Errors begin with "failed to setup network".
func (c *Call) Wait() (Answer, error) {
	err := <-c.done
	c.done <- err
	var a Answer
	if e := json.Unmarshal(c.out.Bytes(), &a); e != nil {
		if err == nil {
			err = e
		}
		return a, fmt.Errorf("failed to setup network: the program that does it has ended without an answer: %w", err)
	}
	if a.Error != "" {
		return a, errors.New("failed to setup network: " + a.Error)
	}
	return a, nil
}

// Release removes the rules of a pod that has ended. tree has stage1 as it is in
// its image: the pod could have written to the one it had.
func Release(tree string, uuid poddir.UUID) error {
	cmd := exec.Command(tree + "/" + Program) //nolint:gosec // see above
	cmd.Args = entrypoint.Net{Path: "net", Action: entrypoint.NetRelease, UUID: uuid}.Argv()
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("release the ports of the pod: %w", err)
	}
	return nil
}

// Abort asks the program to roll back, and waits until it has.
func (c *Call) Abort() {
	_ = c.cmd.Process.Signal(unix.SIGTERM)
	_, _ = c.Wait()
}
