// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

var errDockerUnsigned = errors.New("signature verification for docker images is not supported (try --insecure-options=image)")

// fromRegistry brings an image from a registry.
func (r *run) fromRegistry(ctx context.Context, ref distribution.Docker) (appc.ImageID, error) {
	url := ref.URL()
	known, ok, err := r.Store.Remote(url)
	if err != nil {
		return "", fmt.Errorf("docker image from URL %q: %w", url, err)
	}
	if !ok {
		known = Remote{}
	}
	if r.o.Policy != Update && ok {
		suits, err := r.suits(known.Key)
		if err != nil {
			return "", err
		}
		if suits {
			r.debug("using image from local store for url %s", url)
			return known.Key, nil
		}
	}
	if r.o.Policy == Never {
		return "", fmt.Errorf("unable to fetch docker image from URL %q: %s", url, tail)
	}
	verifier, err := r.policyVerifier(ref)
	if err != nil {
		return "", err
	}
	r.debug("remote fetching from URL %q", url)
	r.debug("fetching image from %s", url)
	id, err := r.pull(ctx, ref, known, verifier)
	if err != nil {
		return "", fmt.Errorf("error converting docker image to ACI: %s: %w", url, err)
	}
	return id, nil
}

// suits tells whether a stored image is for the platform that was asked for;
// without such a wish every image is.
func (r *run) suits(id appc.ImageID) (bool, error) {
	wantOS, wantArch, ok := ociconv.Labels(r.Platform)
	if !ok {
		return true, nil
	}
	m, err := r.Store.Manifest(id)
	if err != nil {
		return false, err
	}
	os, _ := m.Labels.Get("os")
	arch, _ := m.Labels.Get("arch")
	return os == wantOS && arch == wantArch, nil
}

// pull asks the mirrors of the registry, then the registry itself.
func (r *run) pull(ctx context.Context, ref distribution.Docker, known Remote, verifier *policyVerifier) (appc.ImageID, error) {
	if ref.Digest != "" {
		if err := ociconv.CheckDigest(ref.Digest); err != nil {
			return "", err
		}
	}
	endpoints, err := r.endpoints(ref)
	if err != nil {
		return "", err
	}
	var failed []error
	for _, e := range endpoints {
		id, err := r.pullFrom(ctx, ref, known, verifier, e)
		if err == nil {
			return id, nil
		}
		if !e.Mirror || ctx.Err() != nil {
			return "", errors.Join(append([]error{err}, failed...)...)
		}
		err = fmt.Errorf("mirror %s/%s: %w", e.Host, e.Repository, err)
		r.debug("%v", err)
		failed = append(failed, err)
	}
	return "", errors.Join(failed...)
}

// endpoints are where an image may be asked for, the registry itself last.
func (r *run) endpoints(ref distribution.Docker) ([]config.Endpoint, error) {
	if r.Registries == nil {
		return []config.Endpoint{{Host: ref.Host, Repository: ref.Repository}}, nil
	}
	return r.Registries.Endpoints(ref.Host, ref.Repository, ref.Digest != "")
}

func (r *run) pullFrom(ctx context.Context, ref distribution.Docker, known Remote, verifier *policyVerifier, e config.Endpoint) (appc.ImageID, error) {
	reference := ref.Tag
	if ref.Digest != "" {
		reference = ref.Digest
	}
	g, err := r.connect(ctx, e, actionsPull)
	if err != nil {
		return "", err
	}
	defer g.close()
	// What has to be verified is verified each time: a key may be trusted no more.
	if known.ManifestDigest != "" && verifier == nil {
		if digest := g.head(ctx, reference); digest == known.ManifestDigest {
			return r.unchanged(known, nil)
		}
	}
	start, err := g.manifest(ctx, reference)
	if err != nil {
		return "", err
	}
	get := func(ctx context.Context, d ociconv.Descriptor) ([]byte, error) { return g.described(ctx, d) }
	d, doc, err := r.choose(ctx, start, get)
	if err != nil {
		return "", err
	}
	verified, err := verifier.verify(ctx, func(digest string) { verifier.look(g, digest) }, start, d.Digest)
	if err != nil {
		return "", err
	}
	remote := Remote{URL: ref.URL(), Downloaded: time.Now(), ManifestDigest: d.Digest}
	if key, ok, err := r.Store.FindOCI(ctx, remote.URL, d.Digest); err != nil || ok {
		remote.Key = key
		if err == nil {
			return r.unchanged(remote, verified)
		}
		return "", err
	}
	if doc == nil {
		data, err := g.described(ctx, d)
		if err != nil {
			return "", err
		}
		doc = &document{data: data, mediaType: ociconv.DocumentType(data, d.MediaType), digest: d.Digest}
	}
	i := &importImage{
		run: r, from: g, manifest: *doc, origin: ociconv.FromReference(ref),
		latest: ref.Tag == "latest", remote: &remote, verified: verified,
	}
	return i.do(ctx)
}

// unchanged remembers that the image was asked for and is still the same, and
// what was found out about it.
func (r *run) unchanged(remote Remote, verified *Verification) (appc.ImageID, error) {
	remote.Downloaded = time.Now()
	if verified != nil {
		if err := r.Store.SetVerified(remote.Key, verified); err != nil {
			return "", err
		}
	}
	return remote.Key, r.Store.RefreshRemote(remote)
}

// described gets a manifest that an index names, and holds it to that.
func (g *registryConn) described(ctx context.Context, d ociconv.Descriptor) ([]byte, error) {
	if d.Size > ociconv.MaxManifest {
		return nil, fmt.Errorf("manifest %s: size %d is larger than the limit of %d", d.Digest, d.Size, ociconv.MaxManifest)
	}
	doc, err := g.manifest(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	if int64(len(doc.data)) != d.Size {
		return nil, fmt.Errorf("manifest %s: %d bytes expected but %d found", d.Digest, d.Size, len(doc.data))
	}
	return doc.data, nil
}
