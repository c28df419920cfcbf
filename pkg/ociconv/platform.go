// SPDX-License-Identifier: Apache-2.0

package ociconv

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/cpu"
)

// Platform is a platform in the words of OCI. The zero value means the host's.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	// Variant is the newest one that runs: "v7" of arm, "v3" of amd64.
	Variant string `json:"variant"`
}

// ErrNoPlatform is returned by Choose when nothing suits.
var ErrNoPlatform = errors.New("no image for this platform")

// String is OS/ARCH[/VARIANT].
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// ParsePlatform parses OS/ARCH[/VARIANT].
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return Platform{}, fmt.Errorf("invalid platform %q (want OS/ARCH[/VARIANT])", s)
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// HostPlatform is this machine.
func HostPlatform() Platform {
	p := Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
	switch p.Architecture {
	case "amd64":
		p.Variant = amd64Level()
	case "arm64":
		p.Variant = "v8"
	case "arm":
		p.Variant = "v7"
	}
	return p
}

// amd64Level is the micro-architecture level. Processors with AVX2, BMI and
// FMA have the rest of level 3, too.
func amd64Level() string {
	x := cpu.X86
	switch {
	case x.HasAVX2 && x.HasBMI1 && x.HasBMI2 && x.HasFMA && x.HasOSXSAVE:
		return "v3"
	case x.HasSSE42 && x.HasSSSE3 && x.HasPOPCNT && x.HasCX16:
		return "v2"
	}
	return "v1"
}

// Choose picks the manifest for want: the newest variant that is not newer
// than want's, an entry without variant last. Entries for no platform (attestations) and
// artifacts are skipped.
func (x *Index) Choose(want Platform) (Descriptor, error) {
	if want == (Platform{}) {
		want = HostPlatform()
	}
	best, bestRank := -1, -1
	var available []string
	for i, d := range x.Manifests {
		if !isImageEntry(d) {
			continue
		}
		if d.Platform == nil {
			continue
		}
		if name := d.Platform.String(); !slices.Contains(available, name) {
			available = append(available, name)
		}
		if r := rank(*d.Platform, want); r > bestRank {
			best, bestRank = i, r
		}
	}
	if best >= 0 {
		return x.Manifests[best], nil
	}
	return x.withoutPlatform(want, available)
}

// withoutPlatform allows an index whose single entry does not say what it is for.
func (x *Index) withoutPlatform(want Platform, available []string) (Descriptor, error) {
	var found []Descriptor
	for _, d := range x.Manifests {
		if isImageEntry(d) && d.Platform == nil {
			found = append(found, d)
		}
	}
	switch {
	case len(available) == 0 && len(found) == 1:
		return found[0], nil
	case len(available) == 0:
		return Descriptor{}, fmt.Errorf("%w: the image index names no platform", ErrNoPlatform)
	}
	return Descriptor{}, fmt.Errorf("%w: want %s, available: %s", ErrNoPlatform, want, strings.Join(available, ", "))
}

func isImageEntry(d Descriptor) bool {
	if !IsManifest(d.MediaType) && !IsIndex(d.MediaType) {
		return false
	}
	if d.ArtifactType != "" && !isConfig(d.ArtifactType) {
		return false
	}
	p := d.Platform
	return p == nil || p.OS != "unknown" && p.Architecture != "unknown"
}

// rank is -1 if have does not run on want; otherwise more is better.
func rank(have, want Platform) int {
	if have.OS != want.OS || have.Architecture != want.Architecture {
		return -1
	}
	if have.Variant == "" {
		return 0
	}
	h, w := level(have), level(want)
	if h < 0 || h > w {
		return -1
	}
	return 1 + h
}

// level is the number of a variant, -1 if it is not a number. A platform
// without variant stands for the oldest one of its architecture.
func level(p Platform) int {
	if p.Variant == "" {
		switch p.Architecture {
		case "amd64":
			return 1
		case "arm":
			return 6
		case "arm64":
			return 8
		}
		return -1
	}
	var n int
	if _, err := fmt.Sscanf(p.Variant, "v%d", &n); err != nil || fmt.Sprintf("v%d", n) != p.Variant {
		return -1
	}
	return n
}
