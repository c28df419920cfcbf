// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/layer"
)

// Kind says in which form an image is stored.
type Kind string

// The kinds of images.
const (
	ACI Kind = "aci"
	OCI Kind = "oci"
)

// recordVersion is the format of the record files.
const recordVersion = 1

// maxRecord caps a record file: an OCI image has at most a few hundred layers.
const maxRecord = 1 << 20

// Record is what the store knows about an image beside its files.
type Record struct {
	Version int             `json:"version"`
	ID      appc.ImageID    `json:"id"` // all 512 bits; only the key for images taken over from rkt 1
	Kind    Kind            `json:"kind"`
	Name    appc.Identifier `json:"name"`
	Labels  appc.Labels     `json:"labels,omitempty"`
	Size    int64           `json:"size"` // of the uncompressed archive

	Imported time.Time `json:"imported"`
	Latest   bool      `json:"latest,omitempty"`

	Layers         []layer.Descriptor `json:"layers,omitempty"` // base first
	Flat           string             `json:"flat,omitempty"`   // chain ID, if the layers cannot stand alone
	ManifestDigest string             `json:"manifestDigest,omitempty"`
	ConfigDigest   string             `json:"configDigest,omitempty"`

	Remotes []RemoteRecord `json:"remotes,omitempty"`

	// Verified is the signature that was good when the image was imported; nil if none was asked for.
	Verified *Verification `json:"verified,omitempty"`
}

// Verification is a signature that was accepted, or the rule that accepted the image without one.
type Verification struct {
	Method      string    `json:"method,omitempty"` // cosign, digest; empty: OpenPGP
	Fingerprint string    `json:"fingerprint"`      // of the primary key, in lower-case hex; the ID of a key of cosign; the digest that is pinned
	Prefix      string    `json:"prefix,omitempty"` // that the key is trusted for, or the scope of the rule; empty for a root key
	Signed      time.Time `json:"signed,omitzero"`  // unknown for other methods than OpenPGP
}

// RemoteRecord is where an image came from and how fresh that knowledge is.
type RemoteRecord struct {
	URL            string    `json:"url"`
	SigURL         string    `json:"sigURL,omitempty"`
	ETag           string    `json:"etag,omitempty"`
	MaxAge         int64     `json:"maxAge,omitempty"` // seconds
	Downloaded     time.Time `json:"downloaded"`
	ManifestDigest string    `json:"manifestDigest,omitempty"`
}

// keyPattern is what a key looks like.
var keyPattern = regexp.MustCompile(`^sha512-[0-9a-f]{64}$`)

func isKey(s string) bool { return keyPattern.MatchString(s) }

// parseRecord reads a record and checks what the store relies on.
func parseRecord(key appc.ImageID, data []byte) (*Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("unknown record version %d", r.Version)
	}
	if !strings.HasPrefix(string(r.ID), string(key)) || !isKey(string(key)) {
		return nil, fmt.Errorf("record is about another image, %q", r.ID)
	}
	switch {
	case r.Kind == ACI && len(r.Layers) == 0, r.Kind == OCI:
	default:
		return nil, fmt.Errorf("unknown kind of image %q", r.Kind)
	}
	for _, d := range r.blobs() {
		if _, err := parseDigest(d); err != nil {
			return nil, err
		}
	}
	for _, id := range r.TreeLayers() {
		if _, err := parseDigest(id); err != nil {
			return nil, err
		}
	}
	for _, l := range r.Layers {
		if _, err := parseDigest(l.DiffID); err != nil {
			return nil, err
		}
	}
	return &r, nil
}

func (r *Record) marshal() ([]byte, error) {
	data, err := json.Marshal(r)
	return append(data, '\n'), err
}

// blobs are the digests of all OCI blobs the image is made of.
func (r *Record) blobs() []string {
	var list []string
	for _, l := range r.Layers {
		list = append(list, l.Digest)
	}
	for _, d := range []string{r.ManifestDigest, r.ConfigDigest} {
		if d != "" {
			list = append(list, d)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// setRemote replaces or adds what is known about a URL.
func (r *Record) setRemote(rr RemoteRecord) {
	r.dropRemote(rr.URL)
	r.Remotes = append(r.Remotes, rr)
}

// dropRemote forgets a URL and tells whether it was known.
func (r *Record) dropRemote(url string) bool {
	n := len(r.Remotes)
	r.Remotes = slices.DeleteFunc(r.Remotes, func(old RemoteRecord) bool { return old.URL == url })
	return len(r.Remotes) != n
}

// readRecord reads the record of a key; fs.ErrNotExist when there is none.
func (s *Store) readRecord(key appc.ImageID) (*Record, error) {
	path := s.recordPath(key)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxRecord {
		return nil, fmt.Errorf("read image record %s: file is too large", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(key, data)
	if err != nil {
		return nil, fmt.Errorf("read image record %s: %w", path, err)
	}
	return r, nil
}

// writeRecord replaces the record of an image; it is on disk afterwards.
func (s *Store) writeRecord(r *Record) error {
	data, err := r.marshal()
	if err != nil {
		return fmt.Errorf("write image record: %w", err)
	}
	path := s.recordPath(r.ID.Key())
	_, statErr := os.Stat(filepath.Dir(path))
	err = inShard(path, func() error { return atomicfile.Write(path, data, fileMode) })
	if err == nil && statErr != nil {
		err = syncAbove(path)
	}
	if err != nil {
		return fmt.Errorf("write image record: %w", err)
	}
	return nil
}

// rewriteRecord is writeRecord that keeps the time of last use.
func (s *Store) rewriteRecord(r *Record) error {
	path := s.recordPath(r.ID.Key())
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := s.writeRecord(r); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, st.ModTime())
}

// eachKey calls fn for the key of every record, in no order.
func (s *Store) eachKey(fn func(key appc.ImageID, path string) error) error {
	return s.shardFiles(recordDir, keyAlgorithm, func(path, name string) error {
		if !isKey(name) {
			return nil
		}
		return fn(appc.ImageID(name), path)
	})
}

// eachRecord calls fn for every readable record; bad gets the others.
func (s *Store) eachRecord(fn func(*Record) error, bad func(key appc.ImageID, err error)) error {
	return s.eachKey(func(key appc.ImageID, _ string) error {
		r, err := s.readRecord(key)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			bad(key, err)
			return nil
		}
		return fn(r)
	})
}

// Touch sets the time an image was last used to now. It is one system call.
func (s *Store) Touch(id appc.ImageID) error {
	path := s.recordPath(id.Key())
	// Without times a group member who may write the file may set them, too.
	err := unix.UtimesNanoAt(unix.AT_FDCWD, path, nil, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return &NotFoundError{Key: id.Key()}
	}
	if err != nil {
		return &os.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}
