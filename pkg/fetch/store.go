// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
)

// ErrNotFound is what a Store wraps when an image is not in it.
var ErrNotFound = errors.New("image not found")

// Store is where images are looked up and put. store/imagestore does the work
// behind it. All methods may be called concurrently.
type Store interface {
	// Resolve finds the key of an image by (a prefix of) its ID.
	Resolve(idPrefix string) (appc.ImageID, error)
	// Find finds an image by name and labels; its error wraps ErrNotFound if
	// there is none.
	Find(name appc.Identifier, labels appc.Labels) (appc.ImageID, error)
	Manifest(id appc.ImageID) (*appc.ImageManifest, error)
	// Size is the length of the uncompressed archive.
	Size(id appc.ImageID) (int64, error)

	// Remote returns what is remembered of an earlier fetch from url. Its image
	// exists.
	Remote(url string) (Remote, bool, error)
	// RefreshRemote replaces what is remembered, for an image that did not change.
	RefreshRemote(r Remote) error
	// SetVerified replaces what is remembered of the verification of an image.
	SetVerified(id appc.ImageID, v *Verification) error

	// ImportACI reads r to its end and keeps the image it holds.
	ImportACI(ctx context.Context, r io.Reader, o ImportOptions) (appc.ImageID, error)

	// FindOCI finds the image that was made of the manifest with this digest,
	// fetched as remoteURL.
	FindOCI(ctx context.Context, remoteURL, manifestDigest string) (appc.ImageID, bool, error)
	// BeginOCI starts the import of a layered image.
	BeginOCI(ctx context.Context) (OCIImport, error)

	// TempDir is where partial downloads live.
	TempDir() string
}

// OCIImport is the import of one layered image. PutLayer may be called
// concurrently. Close gives up what was not committed, but keeps whole layers and partial
// downloads for the next try.
type OCIImport interface {
	// PutLayer stores one layer: open is called with the number of bytes that
	// are already there, or not at all if the store has the layer. Digest, size
	// and diffID are verified.
	PutLayer(ctx context.Context, d layer.Descriptor, open func(ctx context.Context, offset int64) (io.ReadCloser, error)) error
	Commit(ctx context.Context, image OCIImage) (appc.ImageID, error)
	Close() error
}

// Remote is what the store remembers of a fetch, by URL ("docker://" and the
// reference as typed for registry images).
type Remote struct {
	URL            string
	SigURL         string
	ETag           string
	Key            appc.ImageID
	MaxAge         time.Duration
	Downloaded     time.Time
	ManifestDigest string
}

// ImportOptions go with an archive.
type ImportOptions struct {
	// Latest says that the image was asked for without a version.
	Latest bool
	// Remote, if not nil, is remembered with the image's key filled in.
	Remote *Remote
	// Adopt is a file in TempDir that holds all bytes of the reader once the
	// reader is at its end: it is renamed into place instead of being copied.
	Adopt string
	// WantID, if set, is the only image ID that is accepted.
	WantID appc.ImageID
	// Accept, if set, is asked once all of the archive was read and before
	// anything of it is kept. What it returns is remembered of the image.
	Accept func(*appc.ImageManifest) (*Verification, error)
}

// Verification is the signature, or the rule, that made an image acceptable.
type Verification struct {
	Method      string // MethodCosign, MethodDigest; empty: OpenPGP
	Fingerprint string // of the primary key, in lower-case hex; the ID of a key of cosign; the digest that is pinned
	Prefix      string // that the key is trusted for, or the scope of the rule; empty for a root key
	Signed      time.Time
}

// OCIImage is a layered image whose layers are all in the store.
type OCIImage struct {
	Manifest       *appc.ImageManifest
	RawManifest    []byte
	RawConfig      []byte
	ManifestDigest string
	Layers         []layer.Descriptor // base first
	Latest         bool
	Remote         *Remote
	Verified       *Verification // remembered of the image
}
