// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseUpstream(t *testing.T) {
	for version, want := range map[string]upstream{
		"252.39-1~deb12u2":    {252, 39},
		"259-1":               {259, 0},
		"247.3-7+deb11u5":     {247, 3},
		"1:258.6-1":           {258, 6},
		"260~rc1-1":           {259, 0},
		"257.12+really":       {257, 12},
		"260":                 {260, 0},
		"255.4-1ubuntu8.4":    {255, 4},
		"260.1-1~bpo13+1":     {260, 1},
		"0~5":                 {-1, 0},
		"252.39~rc1-1~deb12u": {252, 39},
	} {
		if got, err := parseUpstream(version); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", version, got, err, want)
		}
	}
	for _, version := range []string{"", "v252", "252x", "-1", "99999999999999999999", "252\n39"} {
		if got, err := parseUpstream(version); err == nil {
			t.Errorf("%q is %v", version, got)
		}
	}
}

func TestHoles(t *testing.T) {
	none := func() (string, error) { return "", fs.ErrNotExist }
	text := func(s string) func() (string, error) { return func() (string, error) { return s, nil } }
	const fixed = "systemd (252.39-1~deb12u2) bookworm; urgency=medium\n\n  * CVE-2026-40226 (In nspawn …)\n"
	for _, tc := range []struct {
		version   string
		changelog func() (string, error)
		want      string
	}{
		{"252.39-1~deb12u2", text(fixed), ""},
		{"252.39-1~deb12u1", text("systemd (252.39-1~deb12u1)\n"), "has CVE-2026-40226 (escape to the host by a crafted .nspawn file): install a fixed one"},
		{"252.39-1~deb12u1", text("fixes CVE-2026-402261\n"), "has CVE-2026-40226"},
		{"252.39-1~deb12u1", text(""), "has CVE-2026-40226"},
		{"252.39-1~deb12u2", none, "may have CVE-2026-40226"},
		{"232-25", none, ""}, // older than the hole
		{"233-1", none, "may have"},
		{"257.11-1", text(""), "has"},
		{"257.12-1", none, ""},
		{"258.5-1", text(""), "has"},
		{"258.6-1", none, ""},
		{"259-1", text(""), "has"},
		{"259.4-1", none, ""},
		{"260~rc3-1", text(""), "has"},
		{"260-1", none, ""},
		{"262.1-3", none, ""},
		{"many", none, "no version"},
	} {
		err := checkHoles(holes(), debianPackage{"systemd-container", tc.version}, tc.changelog)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v; want %q", tc.version, err, tc.want)
		}
	}
}

// Every hole has the main line last, so that what comes later is fixed.
func TestHoleTable(t *testing.T) {
	for _, h := range holes() {
		for i, f := range h.fixed {
			if i > 0 && f.release <= h.fixed[i-1].release || f.release < h.since {
				t.Errorf("%s: %v is out of order", h.cve, f)
			}
		}
		if len(h.fixed) == 0 || !strings.HasPrefix(h.cve, "CVE-") || h.what == "" {
			t.Errorf("%+v is incomplete", h)
		}
	}
}

func TestReadChangelog(t *testing.T) {
	root := t.TempDir()
	if _, err := readChangelog(root, "p"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no changelog: %v", err)
	}
	dir := filepath.Join(root, "usr/share/doc/p")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "changelog.Debian.gz")
	for content, want := range map[string]string{b.String(): "text", b.String()[:12]: "", "plain": ""} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := readChangelog(root, "p"); got != want || (err == nil) != (want != "") {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}
