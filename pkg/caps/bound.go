// SPDX-License-Identifier: Apache-2.0

package caps

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Bound limits the calling thread, and what it executes later, to the
// capabilities in keep: the bounding set is cut, the inheritable and the ambient
// set are emptied (a root program gets inheritable OR bounding at execve, and
// one with file capabilities what it inherits). The effective and permitted sets stay as they are until
// execve, so that the caller can still change its user and load a filter.
//
// The caller has locked the goroutine to its thread.
func Bound(keep Set) error {
	if err := ClearAmbient(); err != nil {
		return err
	}
	// Capability numbers the kernel knows beyond our names are dropped, too;
	// the first unknown one is EINVAL.
	for n := range 64 {
		if keep.Has(n) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break
		}
		if err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", n, err)
		}
	}
	return ClearInheritable()
}

// ClearAmbient empties the ambient set of the calling thread.
func ClearAmbient() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	return nil
}

// ClearInheritable empties the inheritable set of the calling thread.
func ClearInheritable() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}

// Limit is Bound for a thread that goes on working: the effective and permitted
// sets are cut as well.
func Limit(keep Set) error {
	if err := Bound(keep); err != nil {
		return err
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	for i, part := range []uint32{uint32(keep), uint32(keep >> 32)} {
		data[i].Effective &= part
		data[i].Permitted &= part
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}
