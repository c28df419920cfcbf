// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/progress"
)

func TestCutLongHex(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for in, want := range map[string]string{
		"":                             "",
		"plain text":                   "plain text",
		"sha512-" + hex + ": x":        "sha512-0a0a0a0...: x", // the run begins at 512
		"/pods/" + hex[:35] + "/":      "/pods/" + hex[:35] + "/",
		"/pods/" + hex[:36]:            "/pods/0a0a0a0a0a0a...",
		strings.Repeat("-", 40):        "------------...",
		"é" + hex + "é":                "é0a0a0a0a0a0a...é",
		"01234567-89ab-4cde-8f01-0123": "01234567-89ab-4cde-8f01-0123",
	} {
		if got := cutLongHex(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzCutLongHex(f *testing.F) {
	long := regexp.MustCompile("[0-9a-fA-F-]{36,}")
	f.Add("sha512-" + strings.Repeat("f", 64) + "\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := cutLongHex(s)
		if long.MatchString(got) {
			t.Errorf("%q: %q", s, got)
		}
		if want := long.ReplaceAllStringFunc(s, func(r string) string { return r[:keptHex] + "..." }); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	})
}

// Only the two commands whose callers search both streams have it.
func TestMessagesWithoutUUIDs(t *testing.T) {
	uuid := "01234567-89ab-4cde-8f01-23456789abcd"
	for _, tc := range []struct {
		command string
		debug   bool
		kept    bool
	}{{"prepare", false, false}, {"fetch", false, false}, {"prepare", true, true}, {"run", false, true}, {"rm", false, true}} {
		d, _, stderr := testDeps(t)
		d.command, d.Global.Debug = tc.command, tc.debug
		d.errorf("pod %s", uuid)
		d.Logger("image").Warn("pod " + uuid)
		if got := strings.Count(stderr.String(), uuid); (got == 2) != tc.kept || got == 1 {
			t.Errorf("%+v: %q", tc, stderr)
		}
	}
}

// Messages go between the bars of downloads, not through them.
func TestMessagesShareTheDisplay(t *testing.T) {
	d, _, stderr := testDeps(t)
	d.command = "fetch"
	log := d.Logger("image") // made before there is a display
	d.display = progress.New(&upper{stderr}, progress.Plain)
	log.Warn("from the store")
	d.errorf("from the command")
	if got, want := stderr.String(), "IMAGE: FROM THE STORE\nFETCH: FROM THE COMMAND\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// upper shows that something was written through it.
type upper struct {
	w interface{ WriteString(string) (int, error) }
}

func (u *upper) Write(p []byte) (int, error) { return u.w.WriteString(strings.ToUpper(string(p))) }
