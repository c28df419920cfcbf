// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ErrInvalidIsolator is in the chain of errors about values that do not have
// the form their isolator needs.
var ErrInvalidIsolator = errors.New("invalid isolator")

// Resource is the value of isolators such as resource/memory.
type Resource struct {
	Default bool      `json:"default"`
	Request *Quantity `json:"request"`
	Limit   *Quantity `json:"limit"`
}

// LinuxCapabilities is the value of the two capability isolators.
type LinuxCapabilities struct {
	Set []string `json:"set"`
}

// LinuxSeccomp is the value of the two seccomp isolators.
type LinuxSeccomp struct {
	Set   []string `json:"set"`
	Errno string   `json:"errno,omitempty"`
}

// SELinuxContext is the value of os/linux/selinux-context.
type SELinuxContext struct {
	User  string `json:"user"`
	Role  string `json:"role"`
	Type  string `json:"type"`
	Level string `json:"level"`
}

// AppArmorProfile is the value of os/linux/apparmor-profile.
type AppArmorProfile struct {
	Profile string `json:"profile"`
}

// RlimitValue is one side of a resource limit: a number or "unlimited".
type RlimitValue uint64

// RlimitUnlimited is no limit, RLIM_INFINITY of setrlimit(2).
const RlimitUnlimited RlimitValue = math.MaxUint64

const unlimited = `"unlimited"`

// MarshalJSON writes a number or "unlimited".
func (v RlimitValue) MarshalJSON() ([]byte, error) {
	if v == RlimitUnlimited {
		return []byte(unlimited), nil
	}
	return strconv.AppendUint(nil, uint64(v), 10), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *RlimitValue) UnmarshalJSON(data []byte) error {
	if string(data) == unlimited {
		*v = RlimitUnlimited
		return nil
	}
	n, err := strconv.ParseUint(string(data), 10, 64)
	if err != nil || n == uint64(RlimitUnlimited) {
		return fmt.Errorf("a resource limit is a whole number or %s, not %.40s", unlimited, data)
	}
	*v = RlimitValue(n)
	return nil
}

// Rlimit is a resource limit. A side that is not set equals the other one.
type Rlimit struct {
	Soft *RlimitValue `json:"soft,omitempty"`
	Hard *RlimitValue `json:"hard,omitempty"`
}

// Rlimits is the value of os/unix/rlimits, by names such as nofile.
type Rlimits map[string]Rlimit

// Bounds of os/linux/cpu-shares and os/linux/oom-score-adj.
const (
	MinCPUShares   = 2
	MaxCPUShares   = 262144
	MinOOMScoreAdj = -1000
	MaxOOMScoreAdj = 1000
)

// Bounds of os/linux/io-weight.
const (
	MinIOWeight = 1
	MaxIOWeight = 10000
)

// valueCheck returns the check for the value of the isolator called name, nil
// for names that are not known.
func valueCheck(name Identifier) func(json.RawMessage) error {
	switch name {
	case ResourceCPU, ResourceMemory, ResourcePids:
		return checkLimit
	case ResourceBlockBandwidth, ResourceBlockIOPS, ResourceNetworkBandwidth:
		return checkDefaultLimit
	case LinuxCapabilitiesRetainSet, LinuxCapabilitiesRemoveSet:
		return checkCapabilities
	case LinuxSeccompRetainSet, LinuxSeccompRemoveSet:
		return checkSeccomp
	case LinuxNoNewPrivileges:
		return func(v json.RawMessage) error { return unmarshalValue(v, new(bool)) }
	case LinuxOOMScoreAdj:
		return func(v json.RawMessage) error {
			return checkRange(v, LinuxOOMScoreAdj, MinOOMScoreAdj, MaxOOMScoreAdj)
		}
	case LinuxCPUShares:
		return func(v json.RawMessage) error { return checkRange(v, LinuxCPUShares, MinCPUShares, MaxCPUShares) }
	case LinuxIOWeight:
		return func(v json.RawMessage) error { return checkRange(v, LinuxIOWeight, MinIOWeight, MaxIOWeight) }
	case LinuxSELinuxContext:
		return checkSELinux
	case LinuxAppArmorProfile:
		return checkAppArmor
	case UnixSysctl:
		return func(v json.RawMessage) error { return unmarshalValue(v, new(map[string]string)) }
	case UnixRlimits:
		return checkRlimits
	}
	return nil
}

// unmarshalValue refuses null, which encoding/json would take for anything.
func unmarshalValue(raw json.RawMessage, v any) error {
	if len(raw) == 0 || string(raw) == "null" {
		return fmt.Errorf("%w: value must be set", ErrInvalidIsolator)
	}
	err := json.Unmarshal(raw, v)
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return at(mismatch.Field, fmt.Errorf("%w: cannot use JSON %s as %s", ErrInvalidIsolator, mismatch.Value, typeName(mismatch.Type)))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidIsolator, err)
	}
	return nil
}

func checkLimit(raw json.RawMessage) error {
	var r Resource
	if err := unmarshalValue(raw, &r); err != nil {
		return err
	}
	if r.Default {
		return at("default", errors.New("default must be false"))
	}
	if r.Request != nil && r.Request.IsNegative() {
		return at("request", fmt.Errorf("%s must not be negative", r.Request))
	}
	if r.Limit != nil && r.Limit.IsNegative() {
		return at("limit", fmt.Errorf("%s must not be negative", r.Limit))
	}
	return nil
}

func checkDefaultLimit(raw json.RawMessage) error {
	var r Resource
	if err := unmarshalValue(raw, &r); err != nil {
		return err
	}
	if !r.Default {
		return at("default", errors.New("default must be true"))
	}
	if r.Request != nil {
		return at("request", errors.New("request must not be set"))
	}
	return nil
}

func checkCapabilities(raw json.RawMessage) error {
	var c LinuxCapabilities
	if err := unmarshalValue(raw, &c); err != nil {
		return err
	}
	if len(c.Set) == 0 {
		return at("set", errors.New("set must be non-empty"))
	}
	return nil
}

var errnoName = compiled(`^E[A-Z0-9]*$`)

func checkSeccomp(raw json.RawMessage) error {
	var s LinuxSeccomp
	if err := unmarshalValue(raw, &s); err != nil {
		return err
	}
	if len(s.Set) == 0 {
		return at("set", errors.New("set must be non-empty"))
	}
	if s.Errno != "" && !errnoName().MatchString(s.Errno) {
		return at("errno", fmt.Errorf("errno %q must be upper-case letters and digits starting with E", s.Errno))
	}
	return nil
}

func checkRange(raw json.RawMessage, name string, low, high int) error {
	var n int
	if err := unmarshalValue(raw, &n); err != nil {
		return err
	}
	if n < low || n > high {
		return fmt.Errorf("%s must be between %d and %d, got %d", name, low, high, n)
	}
	return nil
}

func checkRlimits(raw json.RawMessage) error {
	var all Rlimits
	if err := unmarshalValue(raw, &all); err != nil {
		return err
	}
	for name, l := range all {
		if l.Soft == nil && l.Hard == nil {
			return at(name, errors.New("soft or hard must be set"))
		}
	}
	return nil
}

func checkSELinux(raw json.RawMessage) error {
	var c SELinuxContext
	if err := unmarshalValue(raw, &c); err != nil {
		return err
	}
	for _, part := range []struct{ key, value string }{{"user", c.User}, {"role", c.Role}, {"type", c.Type}} {
		if part.value == "" || strings.Contains(part.value, ":") {
			return at(part.key, fmt.Errorf("%s %q must be non-empty and without colon", part.key, part.value))
		}
	}
	if c.Level == "" {
		return at("level", errors.New("level must be non-empty"))
	}
	return nil
}

func checkAppArmor(raw json.RawMessage) error {
	var p AppArmorProfile
	if err := unmarshalValue(raw, &p); err != nil {
		return err
	}
	if p.Profile == "" {
		return at("profile", errors.New("profile must be non-empty"))
	}
	return nil
}
