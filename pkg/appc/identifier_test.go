// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"errors"
	"testing"
)

func TestNewIdentifier(t *testing.T) {
	for s, want := range map[string]error{
		"example.com/app":   nil,
		"a":                 nil,
		"0":                 nil,
		"a--b":              nil,
		"a.b-c_d~e/f":       nil,
		"":                  ErrEmptyIdentifier,
		"-a":                ErrInvalidEdgeIdentifier,
		"a/":                ErrInvalidEdgeIdentifier,
		"A":                 ErrInvalidCharIdentifier,
		"example.com:app":   ErrInvalidCharIdentifier,
		"example.com/\x00a": ErrInvalidCharIdentifier,
		"ä":                 ErrInvalidCharIdentifier,
	} {
		if _, err := NewIdentifier(s); !errors.Is(err, want) {
			t.Errorf("NewIdentifier(%q): %v, want %v", s, err, want)
		}
	}
}

func TestNewName(t *testing.T) {
	for s, want := range map[string]error{
		"redis-2": nil,
		"a--b":    nil,
		"":        ErrEmptyName,
		"a-":      ErrInvalidEdgeName,
		"a_b":     ErrInvalidCharName,
		"a.b":     ErrInvalidCharName,
	} {
		if _, err := NewName(s); !errors.Is(err, want) {
			t.Errorf("NewName(%q): %v, want %v", s, err, want)
		}
	}
}

func TestSanitize(t *testing.T) {
	for s, want := range map[string]Identifier{
		"127.0.0.1:5000/Library/Busybox": "127.0.0.1_5000/library/busybox",
		"--a b--":                        "a_b",
		"ÄÖa":                            "a",
	} {
		if got, err := SanitizeIdentifier(s); err != nil || got != want {
			t.Errorf("SanitizeIdentifier(%q) = %q, %v, want %q", s, got, err, want)
		}
	}
	for s, want := range map[string]Name{
		"volume/var/tmp": "volume-var-tmp",
		"My_App.":        "my-app",
	} {
		if got, err := SanitizeName(s); err != nil || got != want {
			t.Errorf("SanitizeName(%q) = %q, %v, want %q", s, got, err, want)
		}
	}
	if _, err := SanitizeName("___"); !errors.Is(err, ErrEmptyName) {
		t.Errorf("nothing left: %v", err)
	}
}

// What is sanitised is valid and stays as it is when sanitised again; what is
// valid already is not changed.
func FuzzIdentifier(f *testing.F) {
	for _, s := range []string{"example.com/app", "A b", "", "-", "a--b", "\xff", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if i, err := SanitizeIdentifier(s); err == nil {
			if again, err := SanitizeIdentifier(string(i)); err != nil || again != i {
				t.Fatalf("%q: %q, then %q, %v", s, i, again, err)
			}
		}
		if i, err := NewIdentifier(s); err == nil {
			if same, err := SanitizeIdentifier(s); err != nil || same != i {
				t.Fatalf("valid %q became %q, %v", s, same, err)
			}
		}
		if n, err := SanitizeName(s); err == nil {
			if _, err := NewName(string(n)); err != nil {
				t.Fatalf("%q: %q: %v", s, n, err)
			}
			if _, err := NewIdentifier(string(n)); err != nil {
				t.Fatalf("name %q is no identifier: %v", n, err)
			}
		}
	})
}

func TestImageID(t *testing.T) {
	id := ImageIDFromSum(make([]byte, 64))
	if !id.IsFull() || len(id) != 135 || len(id.Key()) != 71 || id.Short() != "sha512-000000000000" {
		t.Errorf("id %s, key %s, short %s", id, id.Key(), id.Short())
	}
	for _, s := range []string{"sha512-a", "sha512-0123456789abcdef", string(id), string(id.Key())} {
		got, err := ParseImageID(s)
		if err != nil || string(got) != s {
			t.Errorf("ParseImageID(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "sha512-", "sha512", "sha256-00", "sha512-not-existed", "sha512-AB", "sha512-zz", string(id) + "0"} {
		if _, err := ParseImageID(s); !errors.Is(err, ErrImageID) {
			t.Errorf("ParseImageID(%q): %v", s, err)
		}
	}
	if !id.HasPrefix("sha512-0") || !id.Key().HasPrefix(id) || id.HasPrefix("sha512-1") {
		t.Error("HasPrefix compares keys")
	}
}
