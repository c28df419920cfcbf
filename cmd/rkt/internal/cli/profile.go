// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
)

// profiled runs a command under the profiles that hidden flags ask for.
func (d *Deps) profiled(run func() error) error {
	if err := d.startProfile(); err != nil {
		return err
	}
	return errors.Join(run(), d.stopProfile())
}

func (d *Deps) startProfile() error {
	if d.Global.cpuProfile == "" {
		return nil
	}
	f, err := os.OpenFile(d.Global.cpuProfile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("cannot write CPU profile: %w", err)
	}
	d.cpuProfile = f
	return pprof.StartCPUProfile(f)
}

// stopProfile writes the profiles. A command that ends in exec calls it
// before; a second call does nothing.
func (d *Deps) stopProfile() error {
	var cpu error
	if d.cpuProfile != nil {
		pprof.StopCPUProfile()
		cpu = d.cpuProfile.Close()
		d.cpuProfile = nil
	}
	return errors.Join(cpu, d.writeMemProfile())
}

func (d *Deps) writeMemProfile() error {
	path := d.Global.memProfile
	if path == "" {
		return nil
	}
	d.Global.memProfile = ""
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("cannot write memory profile: %w", err)
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}
