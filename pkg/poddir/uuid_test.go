// SPDX-License-Identifier: Apache-2.0

package poddir

import (
	"strings"
	"testing"
)

func TestParseUUID(t *testing.T) {
	const want = UUID("6733c088-a507-4694-aabf-0123456789ab")
	for _, in := range []string{
		"6733c088-a507-4694-aabf-0123456789ab",
		"6733C088-A507-4694-AABF-0123456789AB",
		"6733c088a5074694aabf0123456789ab",
	} {
		got, err := ParseUUID(in)
		if err != nil || got != want {
			t.Errorf("ParseUUID(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "6733c088", "6733c088-a5074694-aabf-0123456789ab0", "zz33c088a5074694aabf0123456789ab", "../../../../../../../../../etc/passw"} {
		if got, err := ParseUUID(in); err == nil {
			t.Errorf("ParseUUID(%q) = %q, want an error", in, got)
		}
	}
}

func TestUUIDForms(t *testing.T) {
	u := UUID("6733c088-a507-4694-aabf-0123456789ab")
	if got, want := u.Scope(), `machine-rkt\x2d6733c088\x2da507\x2d4694\x2daabf\x2d0123456789ab.scope`; got != want {
		t.Errorf("Scope() = %q, want %q", got, want)
	}
	if got := u.MachineID(); strings.Contains(got, "-") || len(got) != 32 {
		t.Errorf("MachineID() = %q", got)
	}
	if got := u.Short(); got != "6733c088" {
		t.Errorf("Short() = %q", got)
	}
}

func TestNewUUIDParsesBack(t *testing.T) {
	for range 100 {
		u := NewUUID()
		got, err := ParseUUID(u.String())
		if err != nil || got != u {
			t.Fatalf("ParseUUID(%q) = %q, %v", u, got, err)
		}
		if u[14] != '4' || !strings.ContainsRune("89ab", rune(u[19])) {
			t.Fatalf("%q is not a version 4 UUID", u)
		}
	}
}

func FuzzParseUUID(f *testing.F) {
	f.Add("6733c088-a507-4694-aabf-0123456789ab")
	f.Add("6733c088a5074694aabf0123456789ab")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUUID(s)
		if err != nil {
			return
		}
		if again, err := ParseUUID(u.String()); err != nil || again != u {
			t.Fatalf("%q: canonical form %q does not parse back: %q, %v", s, u, again, err)
		}
	})
}
