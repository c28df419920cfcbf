// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"fmt"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// mountFlag is --mount: of the last image or, before the first, of all apps.
type mountFlag struct{ parser *Parser }

func (f mountFlag) Set(s string) error {
	m, err := appc.ParseMount(s)
	if err != nil {
		return err
	}
	if app := f.parser.last(); app != nil {
		app.Mounts = append(app.Mounts, m)
	} else {
		f.parser.Mounts = append(f.parser.Mounts, m)
	}
	return nil
}

func (f mountFlag) String() string { return "" }
func (f mountFlag) Type() string   { return "string" }

// CheckMounts fails if a mount names a volume that volumes does not have.
func (p *Parser) CheckMounts(volumes []appc.Volume) error {
	known := map[appc.Name]bool{}
	for _, v := range volumes {
		known[v.Name] = true
	}
	check := func(mounts []appc.Mount) error {
		for _, m := range mounts {
			if m.AppVolume == nil && !known[m.Volume] {
				return hint.With(fmt.Errorf("dangling mount point %q: volume %q not found", m.Path, m.Volume),
					"define the volume before the first image: --volume=%s,kind=…", m.Volume)
			}
		}
		return nil
	}
	for _, app := range p.Apps {
		if err := check(app.Mounts); err != nil {
			return err
		}
	}
	return check(p.Mounts)
}

// VolumeFlag is --volume: the volumes of a pod.
type VolumeFlag []appc.Volume

// Set parses one volume. A name may be given once, whatever the kinds.
func (f *VolumeFlag) Set(s string) error {
	v, err := appc.ParseVolume(s)
	if err != nil {
		return fmt.Errorf("invalid value in --volume flag %q: %w", s, err)
	}
	for _, other := range *f {
		if other.Name == v.Name {
			return fmt.Errorf("duplicate volume name %q", v.Name)
		}
	}
	*f = append(*f, v)
	return nil
}

func (f *VolumeFlag) String() string { return "" }

// Type is what pflag shows as the kind of value.
func (f *VolumeFlag) Type() string { return "string" }
