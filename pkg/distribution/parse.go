// SPDX-License-Identifier: Apache-2.0

package distribution

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/hint"
)

const aciSuffix = ".aci"

var schemePattern = compiled(`^([A-Za-z][A-Za-z0-9+.-]*):`)

// prefixes are the words that mean something else than a name before a colon.
var prefixes = [...]string{"file", "http", "https", "docker", "cimd", "oci", "oci-archive", "docker-archive"}

func isPrefix(name string) bool { return slices.Contains(prefixes[:], name) }

// IsHash tells whether s names an image by its ID: exactly two parts around
// one dash, the first "sha512", the second not empty. The digits are not
// looked at, the store does.
func IsHash(s string) bool {
	algorithm, digits, ok := strings.Cut(s, "-")
	return ok && algorithm == "sha512" && digits != "" && !strings.Contains(digits, "-")
}

// Parse classifies an image string.
func Parse(image string) (Point, error) {
	scheme := ""
	if m := schemePattern().FindStringSubmatch(image); m != nil {
		scheme = strings.ToLower(m[1])
	}
	rest := image[min(len(image), len(scheme)+1):]
	switch scheme {
	case "file", "http", "https":
		return parseURL(image)
	case "docker":
		return parseDocker(image, strings.TrimPrefix(rest, "//"))
	case "cimd":
		return parseCIMD(image)
	case "oci":
		l, err := parseLayout(image, rest)
		return orNil(l, err)
	case "oci-archive":
		l, err := parseLayout(image, rest)
		return orNil(OCIArchive(l), err)
	case "docker-archive":
		return parseDockerArchive(image, rest)
	}
	if scheme == "" && isPath(image) {
		abs, err := filepath.Abs(image)
		if err != nil {
			return nil, fmt.Errorf("invalid image string %q: %w", image, err)
		}
		return parseURL(fileURL(abs))
	}
	return parseAppc(image)
}

// orNil drops the half-made point of a failure.
func orNil(p Point, err error) (Point, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// isPath decides between path and name for a string without scheme. The order
// of the tests is part of the command line's contract.
func isPath(s string) bool {
	if filepath.IsAbs(s) {
		return true
	}
	if fi, err := os.Stat(s); err == nil && fi.Mode().IsRegular() {
		return true
	}
	if strings.Contains(s, ":") {
		return false
	}
	return strings.Contains(s, "./") || filepath.Ext(s) == aciSuffix
}

func parseURL(s string) (Point, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("invalid image string %q: %w", s, err)
	}
	if !strings.HasSuffix(u.Path, aciSuffix) {
		err := fmt.Errorf("invalid image string %q", s)
		if u.Scheme == "file" && isTarName(u.Path) {
			return nil, hintArchive(u.Path, err)
		}
		return nil, hint.With(err, "the name of an image archive has to end in %q", aciSuffix)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("invalid image string %q: a file URL has no host", s)
		}
		return ACIArchive{URL: fileURL(filepath.Clean(u.Path))}, nil
	case "http", "https":
	default:
		return nil, fmt.Errorf("invalid image string %q", s)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("invalid image string %q: no host", s)
	}
	return ACIArchive{URL: s}, nil
}

func parseDocker(image, reference string) (Point, error) {
	d, err := ParseReference(reference)
	if err != nil {
		return nil, fmt.Errorf("docker distribution creation error: invalid docker URL %q; expected syntax is "+
			`"docker://[REGISTRY_HOST[:REGISTRY_PORT]/]IMAGE_NAME[:TAG]": %w`, image, err)
	}
	return d, nil
}

// parseLayout parses DIR[:REF][@DIGEST]. A path with a colon has to be given
// as a cimd URI.
func parseLayout(image, s string) (OCILayout, error) {
	var l OCILayout
	if i := strings.LastIndexByte(s, '@'); i >= 0 && digestPattern().MatchString(s[i+1:]) {
		s, l.Digest = s[:i], s[i+1:]
	}
	path, ref, hasRef := strings.Cut(s, ":")
	if path == "" || hasRef && ref == "" {
		return OCILayout{}, fmt.Errorf("invalid image string %q", image)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return OCILayout{}, fmt.Errorf("invalid image string %q: %w", image, err)
	}
	l.Path, l.Ref = abs, ref
	return l, nil
}

func parseDockerArchive(image, s string) (Point, error) {
	path, ref, hasRef := strings.Cut(s, ":")
	if path == "" || hasRef && ref == "" {
		return nil, fmt.Errorf("invalid image string %q", image)
	}
	if err := checkArchiveRef(ref); err != nil {
		return nil, fmt.Errorf("invalid image string %q: %w", image, err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("invalid image string %q: %w", image, err)
	}
	return DockerArchive{Path: abs, Ref: ref}, nil
}

func checkArchiveRef(ref string) error {
	if ref == "" {
		return nil
	}
	if number, ok := strings.CutPrefix(ref, "@"); ok {
		if _, err := strconv.ParseUint(number, 10, 31); err != nil {
			return fmt.Errorf("invalid image index %q", ref)
		}
		return nil
	}
	d, err := ParseReference(ref)
	if err == nil && d.Digest != "" {
		err = errors.New("an image of a docker archive has no digest")
	}
	return err
}
