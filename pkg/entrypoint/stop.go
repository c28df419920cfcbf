// SPDX-License-Identifier: Apache-2.0

package entrypoint

import "github.com/rkt/rkt/v2/pkg/poddir"

// Stop is a call of the stop entrypoint.
type Stop struct {
	Path  string // the program, argv[0]
	Force bool
	UUID  poddir.UUID
}

// Argv returns the argument list; it is the same in every interface version.
func (s Stop) Argv() []string {
	argv := []string{s.Path}
	if s.Force {
		argv = append(argv, "--force")
	}
	return append(argv, s.UUID.String())
}

// ParseStop reads an argument list, program name included.
func ParseStop(argv []string) (Stop, error) {
	fs, err := newFlags(argv)
	if err != nil {
		return Stop{}, err
	}
	s := Stop{Path: argv[0]}
	fs.BoolVar(&s.Force, "force", false, "")
	if s.UUID, err = parseUUID(fs, argv); err != nil {
		return Stop{}, err
	}
	return s, nil
}
