// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Faults of an archive or a layout as a whole.
var (
	ErrNoManifest      = errors.New("no image manifest found in layout")
	ErrNoRootFS        = errors.New("no rootfs found in layout")
	ErrRootFSNotDir    = errors.New("rootfs is not a directory")
	ErrInvalidManifest = errors.New("image manifest validation failed")
)

const (
	// maxEntries bounds the memory of validation.
	maxEntries = 2_000_000
	// maxNameLen is PATH_MAX of Linux.
	maxNameLen = 4096
	// supportedMajor is the major version of the specification.
	supportedMajor = 0
	copyBufferSize = 64 << 10
)

// OldVersionError tells that a manifest was written for a version of the
// specification that is no longer supported. The image tools only warn of it.
type OldVersionError struct {
	Found, Expected uint64
}

// Error names both versions.
func (e *OldVersionError) Error() string {
	return fmt.Sprintf("ACVersion too old. Found major version %v, expected %v", e.Found, e.Expected)
}

func checkVersion(m *appc.ImageManifest, supported uint64) error {
	major, err := appc.MajorVersion(m.ACVersion)
	if err != nil {
		return err
	}
	if major < supported {
		return &OldVersionError{Found: major, Expected: supported}
	}
	return nil
}

// Validate reads the whole archive r, compressed or not, and checks it: the
// manifest is there and valid, rootfs is there and a directory, nothing is outside,
// nothing is there twice or lies below what is not a directory. An error of type
// *OldVersionError comes with the manifest.
func Validate(r io.Reader) (*appc.ImageManifest, error) {
	return validate(r, nil)
}

// List is Validate and calls fn for each entry except the manifest, in order,
// as soon as that entry turned out to be right.
func List(r io.Reader, fn func(name string, hdr *tar.Header) error) (*appc.ImageManifest, error) {
	return validate(r, func(name string, hdr *tar.Header, _ io.Reader) error { return fn(name, hdr) })
}

func validate(r io.Reader, fn entryFunc) (*appc.ImageManifest, error) {
	plain, _, err := Open(r)
	if err != nil {
		return nil, err
	}
	v := validator{seen: map[nameSum]kind{}, fn: fn}
	m, err := v.run(plain)
	return m, errors.Join(err, plain.Close())
}

// kind is what a validator remembers of a name.
type kind byte

const (
	// implied is a directory that so far only its content implied.
	implied kind = iota + 1
	directory
	other
)

// nameSum stands for a name: names may be long and many. Half a SHA-256 cannot
// be made to collide with less than 2^64 work.
type nameSum [16]byte

func sumName(name string) nameSum {
	sum := sha256.Sum256([]byte(name))
	return nameSum(sum[:16])
}

// entryFunc is called for each entry with its clean name and its data.
type entryFunc func(name string, hdr *tar.Header, content io.Reader) error

type validator struct {
	seen     map[nameSum]kind
	manifest *appc.ImageManifest
	entries  int
	// fn and raw, if set, get the entries and the stored manifest.
	fn  entryFunc
	raw func([]byte)
}

func (v *validator) run(r io.Reader) (*appc.ImageManifest, error) {
	tr := tar.NewReader(r)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		if err := v.entry(hdr, tr); err != nil {
			return nil, err
		}
	}
	// What follows the end mark is no part of the archive, but reading it
	// lets the compression check its own sums.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	return v.finish()
}

func (v *validator) finish() (*appc.ImageManifest, error) {
	if v.manifest == nil {
		return nil, ErrNoManifest
	}
	switch v.seen[sumName(RootFSName)] {
	case 0:
		return nil, ErrNoRootFS
	case other:
		return nil, ErrRootFSNotDir
	}
	return v.manifest, checkVersion(v.manifest, supportedMajor)
}

func (v *validator) entry(hdr *tar.Header, r io.Reader) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if v.entries++; v.entries > maxEntries {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	name, err := CleanName(hdr.Name)
	if err != nil {
		return err
	}
	if name == "." {
		return nil
	}
	if err := v.remember(name, hdr.Typeflag); err != nil {
		return err
	}
	if name == ManifestName {
		return v.readManifest(hdr, r)
	}
	if err := checkType(name, hdr); err != nil {
		return err
	}
	if v.fn == nil {
		return nil
	}
	return v.fn(name, hdr, r)
}

func (v *validator) readManifest(hdr *tar.Header, r io.Reader) error {
	m, raw, err := readManifest(hdr, r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidManifest, err)
	}
	v.manifest = m
	if v.raw != nil {
		v.raw(raw)
	}
	return nil
}

// CleanName returns the name of an entry without "./", doubled and trailing
// slashes; "." is the archive's top. Absolute names, names with ".." and names other
// than manifest, rootfs and what is below rootfs are refused.
func CleanName(name string) (string, error) {
	clean := path.Clean(name)
	switch {
	case len(name) > maxNameLen:
		return "", fmt.Errorf("file name of %d bytes in archive is too long", len(name))
	case name == "" || strings.ContainsRune(name, 0) || hasDotDot(name):
		return "", fmt.Errorf("unrecognized file path in layout: %q", name)
	case clean == ".", clean == ManifestName, clean == RootFSName, strings.HasPrefix(clean, RootFSName+"/"):
		return clean, nil
	}
	return "", fmt.Errorf("unrecognized file path in layout: %q", name)
}

func hasDotDot(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// remember refuses duplicates and entries below what is not a directory, which
// on extraction would be written through a link.
func (v *validator) remember(name string, typeflag byte) error {
	is := other
	if typeflag == tar.TypeDir {
		is = directory
	}
	for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
		sum := sumName(parent)
		if v.seen[sum] == other {
			return fmt.Errorf("file entry %q in archive is below %q, which is not a directory", name, parent)
		}
		if v.seen[sum] != 0 {
			break
		}
		v.seen[sum] = implied
	}
	sum := sumName(name)
	switch before := v.seen[sum]; {
	case before == implied && is != directory && name != RootFSName:
		return fmt.Errorf("file entry %q in archive is not a directory but has entries below it", name)
	case before == directory || before == other:
		return fmt.Errorf("duplicate file entry in archive: %s", name)
	}
	v.seen[sum] = is
	return nil
}

// checkType refuses entries that are no files and hard links that lead out of
// rootfs.
func checkType(name string, hdr *tar.Header) error {
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont, tar.TypeDir,
		tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return nil
	case tar.TypeLink:
		target, err := CleanName(hdr.Linkname)
		if err != nil || !strings.HasPrefix(target, RootFSName+"/") {
			return fmt.Errorf("hard link %q in archive leads out of rootfs: %q", name, hdr.Linkname)
		}
		return nil
	}
	return fmt.Errorf("file entry %q in archive: unsupported type: %v", name, hdr.Typeflag)
}
