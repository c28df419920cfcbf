// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// hole is a known vulnerability of systemd-nspawn or of what else of systemd
// is in the image.
type hole struct {
	cve  string
	what string
	// since is the first version that has it.
	since int
	// fixed are the first versions without it: the last one of the main line,
	// the others of older releases that are still maintained.
	fixed []upstream
}

// holes are those that a build refuses. Add new ones, with the versions of the
// advisory; never take one out.
func holes() []hole {
	return []hole{{
		cve:   "CVE-2026-40226",
		what:  "escape to the host by a crafted .nspawn file",
		since: 233,
		fixed: []upstream{{257, 12}, {258, 6}, {259, 4}, {260, 0}},
	}}
}

// upstream is a version of systemd: 252.39 is {252, 39}.
type upstream struct{ release, point int }

var upstreamVersion = regexp.MustCompile(`^(?:[0-9]+:)?([0-9]+)(?:\.([0-9]+))?([~.+-].*)?$`)

// parseUpstream reads the version of a Debian package. A release candidate
// counts as the release before it.
func parseUpstream(version string) (upstream, error) {
	m := upstreamVersion.FindStringSubmatch(version)
	if m == nil {
		return upstream{}, fmt.Errorf("%q is no version of systemd", version)
	}
	var u upstream
	for i, n := range []*int{&u.release, &u.point} {
		if m[i+1] == "" {
			continue
		}
		var err error
		if *n, err = strconv.Atoi(m[i+1]); err != nil {
			return upstream{}, fmt.Errorf("%q is no version of systemd: %w", version, err)
		}
	}
	if m[2] == "" && strings.HasPrefix(m[3], "~") {
		u.release--
	}
	return u, nil
}

// affects tells whether a version has the hole, as upstream released it.
func (h hole) affects(u upstream) bool {
	if u.release < h.since {
		return false
	}
	for _, f := range h.fixed {
		if u.release == f.release {
			return u.point < f.point
		}
	}
	return u.release < h.fixed[len(h.fixed)-1].release
}

// checkHoles refuses a systemd with a known hole: its version has to be one
// that upstream fixed, or the changelog of the package has to name the hole.
// changelog is called only when it is needed.
func checkHoles(known []hole, p debianPackage, changelog func() (string, error)) error {
	u, err := parseUpstream(p.version)
	if err != nil {
		return err
	}
	for _, h := range known {
		if !h.affects(u) {
			continue
		}
		text, err := changelog()
		switch {
		case err != nil:
			return fmt.Errorf("%s %s may have %s (%s), and its changelog cannot tell: %w", p.name, p.version, h.cve, h.what, err)
		case !mentions(text, h.cve):
			return fmt.Errorf("%s %s has %s (%s): install a fixed one with apt-get update and apt-get install systemd systemd-container",
				p.name, p.version, h.cve, h.what)
		}
	}
	return nil
}

// mentions finds the identifier as a whole word.
func mentions(text, cve string) bool {
	return regexp.MustCompile(`\b` + regexp.QuoteMeta(cve) + `\b`).MatchString(text)
}

// readChangelog returns the changelog that an installed package brought.
func readChangelog(root, name string) (string, error) {
	dir := filepath.Join(root, "usr/share/doc", name)
	packed, err := os.ReadFile(filepath.Join(dir, "changelog.Debian.gz"))
	if err != nil {
		return "", err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", fmt.Errorf("changelog of %s: %w", name, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return "", fmt.Errorf("changelog of %s: %w", name, err)
	}
	return string(text), nil
}
