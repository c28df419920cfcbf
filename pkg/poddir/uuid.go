// SPDX-License-Identifier: Apache-2.0

package poddir

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
)

// UUID is a pod UUID in canonical form: 36 characters, lower-case hex, dashes.
// The zero value means "no pod".
type UUID string

// NewUUID makes a random version-4 UUID (RFC 9562).
func NewUUID() UUID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fromBytes(b)
}

// ParseUUID accepts 32 hex digits of either case, with or without the dashes
// of the canonical form, and normalises them.
func ParseUUID(s string) (UUID, error) {
	digits := s
	if len(s) == 36 {
		for _, i := range []int{8, 13, 18, 23} {
			if s[i] != '-' {
				return "", fmt.Errorf("invalid pod UUID %q", s)
			}
		}
		digits = strings.ReplaceAll(s, "-", "")
	}
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != 16 {
		return "", fmt.Errorf("invalid pod UUID %q", s)
	}
	return fromBytes([16]byte(raw)), nil
}

func fromBytes(b [16]byte) UUID {
	h := hex.EncodeToString(b[:])
	return UUID(strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-"))
}

// String returns the canonical form.
func (u UUID) String() string { return string(u) }

// Short is the first group of eight digits, as tables show it.
func (u UUID) Short() string {
	if len(u) < 8 {
		return string(u)
	}
	return string(u[:8])
}

// MachineID is the UUID without dashes, the pod's machine-id(5).
func (u UUID) MachineID() string { return strings.ReplaceAll(string(u), "-", "") }

// Scope is the name of the pod's cgroup outside a service unit, as machined
// would call it: each dash escaped as systemd.unit(5) does.
func (u UUID) Scope() string {
	return `machine-rkt\x2d` + strings.ReplaceAll(string(u), "-", `\x2d`) + ".scope"
}

// Hostname is the default host name of the pod.
func (u UUID) Hostname() string { return "rkt-" + string(u) }
