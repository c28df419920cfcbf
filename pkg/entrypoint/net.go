// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"fmt"
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// NetAction is what the net entrypoint is to do.
type NetAction string

// The actions of the net entrypoint. The working directory is the pod
// directory; check and repair write their report to standard output.
const (
	NetCheck  NetAction = "check"  // say what is missing of the pod's networks
	NetRepair NetAction = "repair" // put it back
	// NetRelease removes the rules of a pod that has ended: its ports may get
	// others to serve them before it is collected.
	NetRelease NetAction = "release"
	// NetSweep removes what is left of pods whose directories are gone. The
	// working directory has the root of a stage1 where a pod has it.
	NetSweep NetAction = "sweep"
)

// Net is a call of the net entrypoint.
type Net struct {
	Path    string // the program, argv[0]
	Action  NetAction
	Debug   bool
	UUID    poddir.UUID // of all but sweep
	DataDir string      // of sweep
}

// Argv returns the argument list.
func (n Net) Argv() []string {
	argv := []string{n.Path, "--action=" + string(n.Action)}
	if n.Debug {
		argv = append(argv, "--debug")
	}
	if n.Action == NetSweep {
		return append(argv, "--data="+n.DataDir)
	}
	return append(argv, n.UUID.String())
}

// ParseNet reads an argument list, program name included.
func ParseNet(argv []string) (Net, error) {
	fs, err := newFlags(argv)
	if err != nil {
		return Net{}, err
	}
	n := Net{Path: argv[0]}
	fs.StringVar((*string)(&n.Action), "action", "", "")
	fs.BoolVar(&n.Debug, "debug", false, "")
	fs.StringVar(&n.DataDir, "data", "", "")
	if err := fs.Parse(argv[1:]); err != nil {
		return Net{}, err
	}
	switch {
	case n.Action == NetSweep && filepath.IsAbs(n.DataDir) && fs.NArg() == 0:
		return n, nil
	case (n.Action == NetCheck || n.Action == NetRepair || n.Action == NetRelease) && fs.NArg() == 1:
		n.UUID, err = poddir.ParseUUID(fs.Arg(0))
		return n, err
	}
	return Net{}, fmt.Errorf("invalid call %q", argv)
}

// NetReport is what check and repair write, as JSON.
type NetReport struct {
	Networks []NetState `json:"networks"`
}

// NetState is the state of one network of a pod, or of its forwarded ports if
// Name is empty.
type NetState struct {
	Name     string   `json:"network,omitempty"`
	IfName   string   `json:"interface,omitempty"`
	Missing  []string `json:"missing,omitempty"`  // what is not in force
	Repaired []string `json:"repaired,omitempty"` // what was put back
}
