// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/keystore"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/pkg/progress"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
)

// Policy says when the store is enough.
type Policy string

// The pull policies.
const (
	New    Policy = "new"    // the store if it has the image, else fetch
	Never  Policy = "never"  // the store only
	Update Policy = "update" // always ask the remote side
)

// ParsePolicy parses the value of --pull-policy.
func ParsePolicy(s string) (Policy, error) {
	switch p := Policy(s); p {
	case New, Never, Update:
		return p, nil
	}
	return "", fmt.Errorf("unknown pull policy %q (must be one of: %s, %s, %s)", s, New, Never, Update)
}

// Insecure are the checks that --insecure-options turned off.
type Insecure struct {
	Image  bool // signatures
	TLS    bool // certificates
	HTTP   bool // plain http for registries
	PubKey bool // how keys are downloaded
}

// Credentials finds configured credentials; *config.Config does.
type Credentials interface {
	AuthFor(u *url.URL) (config.AuthEntry, bool)
	DockerAuthFor(registry string) (config.Basic, bool)
}

// Registries knows mirrors and other locations of registries; *config.Config does.
type Registries interface {
	Endpoints(host, repository string, byDigest bool) ([]config.Endpoint, error)
}

// ProgressMode is how progress is shown.
type ProgressMode = progress.Mode

// Fetcher brings images into a store. The zero value of every field but Store
// is usable. A Fetcher may be used for several images, one after the other.
type Fetcher struct {
	Store    Store
	Insecure Insecure
	Auth     Credentials // nil: none configured
	// Registries says where registry images really come from; nil: from where
	// their names say.
	Registries Registries
	// CertDirs are directories like /etc/docker/certs.d with certificates by
	// registry, the first one that knows a registry counts.
	CertDirs []string
	// Keys are what signatures are verified with. With nil everything that has to be
	// verified is refused.
	Keys *keystore.Store
	// Policies say which images of registries are accepted. With nil all are refused.
	Policies *trustpolicy.Store
	// TrustKeys, if set, is called before an image is fetched by name: it may look
	// for keys of the name and ask the user to trust them. What it cannot do it says itself.
	TrustKeys func(ctx context.Context, name appc.Identifier)
	Progress  ProgressMode
	Stderr    io.Writer // nil: silent
	Debug     bool
	// Display, if set, is used in place of one made of Progress and Stderr. A
	// program that writes other messages while images are fetched makes one and writes through it.
	Display *progress.Display
	// Platform selects from manifest lists; the zero value is the host's.
	Platform ociconv.Platform
	// MaxConcurrent is the number of layers downloaded at once; 0 means 3.
	MaxConcurrent int
	// Stall is how long a server may send nothing, or less than 512 bytes a second
	// on average, before it is given up; 0 means two minutes.
	Stall time.Duration
	// UserAgent goes with every request; empty means "rkt".
	UserAgent string
	// Getenv says where registry credentials of the user are (HOME,
	// XDG_RUNTIME_DIR, DOCKER_CONFIG, REGISTRY_AUTH_FILE). nil: nowhere.
	Getenv func(string) string

	sleep sleeper // nil: the real one
}

// ImageOptions go with one image.
type ImageOptions struct {
	// Policy is New if empty.
	Policy Policy
	// Signature is the file of --signature; empty means that the signature is
	// where the image is. It is of the image itself, not of its dependencies.
	Signature string
	// NoDeps leaves the image's dependencies alone.
	NoDeps bool
	// Trusted is for images that need no signature because of where they come
	// from: the stage1 images that were installed with rkt.
	Trusted bool
}

// Fetch finds or brings one image, with its dependencies, and returns its key.
// image is what the user typed: a hash or an image string.
func (f *Fetcher) Fetch(ctx context.Context, image string, o ImageOptions) (appc.ImageID, error) {
	r, err := f.newRun(o)
	if err != nil {
		return "", err
	}
	defer r.close()
	if distribution.IsHash(image) {
		return r.byHash(image)
	}
	point, err := distribution.Parse(image)
	if err != nil {
		return "", err
	}
	id, err := r.fetch(ctx, image, point)
	if err != nil {
		return "", err
	}
	if o.NoDeps {
		return id, nil
	}
	return id, r.dependencies(ctx, id)
}

// run is one call of Fetch.
type run struct {
	*Fetcher
	o       ImageOptions
	display *progress.Display
	owned   bool // display was made here
}

func (f *Fetcher) newRun(o ImageOptions) (*run, error) {
	if o.Policy == "" {
		o.Policy = New
	}
	if _, err := ParsePolicy(string(o.Policy)); err != nil {
		return nil, err
	}
	r := &run{Fetcher: f, o: o, display: f.Display}
	if r.display == nil {
		w := f.Stderr
		if w == nil {
			w = io.Discard
		}
		r.display, r.owned = progress.New(w, f.Progress), true
	}
	return r, nil
}

func (r *run) close() {
	if r.owned {
		r.display.Close()
	}
}

// longHex is what those who search our output take for an image ID or UUID.
var longHex = regexp.MustCompile(`[0-9a-fA-F-]{36,}`)

// message prints a line for the user. Text from outside may be in it, so
// whatever could be mistaken for a result is cut.
func (r *run) message(format string, args ...any) {
	s := fmt.Sprintf("image: "+format+"\n", args...)
	if !r.Debug {
		s = longHex.ReplaceAllStringFunc(s, func(run string) string { return run[:12] + "..." })
	}
	_, _ = io.WriteString(r.display, s)
}

// debug prints a line that only --debug shows.
func (r *run) debug(format string, args ...any) {
	if r.Debug {
		r.message(format, args...)
	}
}

func (r *run) userAgent() string {
	if r.UserAgent == "" {
		return "rkt"
	}
	return r.UserAgent
}

func (r *run) byHash(image string) (appc.ImageID, error) {
	key, err := r.Store.Resolve(image)
	if err != nil {
		return "", fmt.Errorf("could not resolve image %q: %w", image, err)
	}
	r.debug("using image from the store with hash %s", key)
	return key, nil
}

func (r *run) fetch(ctx context.Context, image string, point distribution.Point) (appc.ImageID, error) {
	switch p := point.(type) {
	case distribution.Appc:
		return r.resolve(ctx, p, image)
	case distribution.ACIArchive:
		if path, ok := p.File(); ok {
			return r.fromFile(ctx, path, r.o.Signature)
		}
		return r.fromURL(ctx, p.URL)
	case distribution.Docker:
		return r.fromRegistry(ctx, p)
	case distribution.OCILayout:
		return r.fromLayout(ctx, p)
	case distribution.OCIArchive:
		return r.fromOCIArchive(ctx, p)
	case distribution.DockerArchive:
		return r.fromDockerArchive(ctx, p)
	}
	return "", fmt.Errorf("image %q: unknown distribution point %T", image, point)
}

// tail is how the refusals of the policy never end.
const tail = "either image was not found in the store or store was disabled and " +
	"fetching from remote yielded nothing or it was disabled"

const unsignedHint = "if you trust where the image comes from, accept it unverified with --insecure-options=image"
