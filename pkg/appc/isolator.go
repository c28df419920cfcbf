// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"encoding/json"
	"fmt"
)

// Names of the isolators this package knows.
const (
	ResourceCPU              = "resource/cpu"
	ResourceMemory           = "resource/memory"
	ResourcePids             = "resource/pids"
	ResourceBlockBandwidth   = "resource/block-bandwidth"
	ResourceBlockIOPS        = "resource/block-iops"
	ResourceNetworkBandwidth = "resource/network-bandwidth"

	LinuxCapabilitiesRetainSet = "os/linux/capabilities-retain-set"
	LinuxCapabilitiesRemoveSet = "os/linux/capabilities-remove-set"
	LinuxSeccompRetainSet      = "os/linux/seccomp-retain-set"
	LinuxSeccompRemoveSet      = "os/linux/seccomp-remove-set"
	LinuxNoNewPrivileges       = "os/linux/no-new-privileges"
	LinuxOOMScoreAdj           = "os/linux/oom-score-adj"
	LinuxCPUShares             = "os/linux/cpu-shares"
	LinuxIOWeight              = "os/linux/io-weight"
	LinuxSELinuxContext        = "os/linux/selinux-context"
	LinuxAppArmorProfile       = "os/linux/apparmor-profile"
	UnixSysctl                 = "os/unix/sysctl"
	UnixRlimits                = "os/unix/rlimits"
)

// Isolator is a named limit. Value is kept as it was written.
type Isolator struct {
	Name  Identifier      `json:"name"`
	Value json.RawMessage `json:"value"`
}

// Isolators keep their order: of several equal ones the last counts.
type Isolators []Isolator

// NewIsolator makes an isolator of a name and a value that encoding/json can
// marshal, and validates it.
func NewIsolator(name Identifier, value any) (Isolator, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return Isolator{}, fmt.Errorf("isolator %s: %w", name, err)
	}
	i := Isolator{Name: name, Value: raw}
	if err := i.validate(); err != nil {
		return Isolator{}, fmt.Errorf("isolator %s: %w", name, withoutPath(err))
	}
	return i, nil
}

// Get returns the last isolator called name, or nil.
func (l Isolators) Get(name string) *Isolator {
	for i := len(l) - 1; i >= 0; i-- {
		if string(l[i].Name) == name {
			return &l[i]
		}
	}
	return nil
}

// Unknown returns the names, each once, of which this package does not know
// what they mean. Such isolators must not be ignored when an app is run.
func (l Isolators) Unknown() []Identifier {
	var unknown []Identifier
	seen := map[Identifier]bool{}
	for _, i := range l {
		if !i.IsKnown() && !seen[i.Name] {
			seen[i.Name] = true
			unknown = append(unknown, i.Name)
		}
	}
	return unknown
}

// IsKnown tells whether this package knows what the isolator means.
func (i Isolator) IsKnown() bool { return valueCheck(i.Name) != nil }

func (i Isolator) validate() error {
	if err := i.Name.validate(); err != nil {
		return at("name", err)
	}
	check := valueCheck(i.Name)
	if check == nil {
		return nil
	}
	return at("value", check(i.Value))
}

func (l Isolators) validate() error {
	seen := map[string]Identifier{}
	for n, i := range l {
		if err := i.validate(); err != nil {
			return at(index(n), err)
		}
		group, single := singleton(i.Name)
		if !single {
			continue
		}
		if other, ok := seen[group]; ok {
			return at(index(n), fmt.Errorf("isolators set contains incompatible types: %s after %s", i.Name, other))
		}
		seen[group] = i.Name
	}
	return nil
}

// singleton tells of which isolators an app may have only one; those with the
// same group exclude each other.
func singleton(name Identifier) (group string, ok bool) {
	switch name {
	case LinuxSeccompRetainSet, LinuxSeccompRemoveSet:
		return "seccomp", true
	case LinuxOOMScoreAdj, LinuxCPUShares, LinuxIOWeight, LinuxSELinuxContext, LinuxAppArmorProfile, UnixSysctl:
		return string(name), true
	}
	return "", false
}
