// SPDX-License-Identifier: Apache-2.0

package entrypoint

import "github.com/rkt/rkt/v2/pkg/poddir"

// GC is a call of the gc entrypoint.
type GC struct {
	Path        string // the program, argv[0]
	Debug       bool
	LocalConfig string // directory
	UUID        poddir.UUID
}

// Argv returns the argument list. An image whose interface version knows no
// --local-config is called without.
func (g GC) Argv(version int) []string {
	argv := []string{g.Path}
	if g.Debug {
		argv = append(argv, "--debug")
	}
	if g.LocalConfig != "" && version >= versionLocalConfig {
		argv = append(argv, "--local-config", g.LocalConfig)
	}
	return append(argv, g.UUID.String())
}

// ParseGC reads an argument list, program name included.
func ParseGC(argv []string) (GC, error) {
	fs, err := newFlags(argv)
	if err != nil {
		return GC{}, err
	}
	g := GC{Path: argv[0]}
	fs.BoolVar(&g.Debug, "debug", false, "")
	fs.StringVar(&g.LocalConfig, "local-config", "", "")
	if g.UUID, err = parseUUID(fs, argv); err != nil {
		return GC{}, err
	}
	return g, nil
}
