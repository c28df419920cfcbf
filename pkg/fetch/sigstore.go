// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/cosign"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
)

// Methods of verification; that of OpenPGP signatures is empty.
const (
	MethodCosign = "cosign" // a signature by a public key
	MethodDigest = "digest" // a digest that was pinned
)

// signatureArtifact is what referrers that hold signatures say of themselves.
const signatureArtifact = "application/vnd.dev.cosign.artifact.sig.v1+json"

// policyVerifier decides on one image of a registry, or of local files with the
// form of one. The nil one accepts everything.
type policyVerifier struct {
	*run
	what   string // the image, for people
	pinned string // digest in the reference, or empty
	image  cosign.Image
	where  string // where signatures are looked for, for people
	rules  trustpolicy.Rules

	sources []signatureSource
	found   []registrySignature
	tried   int // payloads that were asked for
	faults  []error
}

// signatureSource is a place where signatures may be. It is asked once.
type signatureSource func(ctx context.Context) error

// registrySignature is one signature with what it is of.
type registrySignature struct {
	image              string // digest of the manifest it was found for
	payload, signature []byte
	bundle             *cosign.Bundle // in place of both
}

// policyVerifier finds the rules for an image, and refuses what none of them can accept.
func (r *run) policyVerifier(ref distribution.Docker) (*policyVerifier, error) {
	if !r.mustVerify() {
		return nil, nil
	}
	var rules trustpolicy.Rules
	if r.Policies != nil {
		all, err := r.Policies.Load()
		if err != nil {
			return nil, &verifyError{err}
		}
		rules = all.ForDocker(ref.Host, ref.Repository)
	}
	v := &policyVerifier{
		run: r, what: ref.Full(), pinned: ref.Digest, rules: rules, where: "in the registry",
		image: cosign.Image{Repository: strings.ToLower(ref.Host) + "/" + ref.Repository, Tag: ref.Tag},
	}
	if !slices.ContainsFunc(rules, func(r trustpolicy.Rule) bool { return r.Requirement != trustpolicy.PGP }) {
		return nil, hint.With(errDockerUnsigned, "trust the key its publisher signs with: rkt trust --cosign-key=FILE --prefix=docker://%s/%s; or, "+
			"%s", ref.Host, ref.Repository, unsignedHint)
	}
	if rules[0].Requirement == trustpolicy.Reject {
		return nil, v.rejected(&rules[0])
	}
	return v, nil
}

func (v *policyVerifier) refused(err error) error {
	return &verifyError{fmt.Errorf("image %q verification failed: %w", v.what, err)}
}

func (v *policyVerifier) rejected(r *trustpolicy.Rule) error {
	return v.refused(fmt.Errorf("trust policy %s rejects %s", r.File, r.Scope))
}

// verify asks the rules in their order. start is the document that the
// reference names, digest that of the manifest of the image. look adds the places
// where signatures of a manifest are.
func (v *policyVerifier) verify(ctx context.Context, look func(digest string), start document, digest string) (*Verification, error) {
	if v == nil {
		return nil, nil
	}
	// Signatures are of SHA-256 digests, whatever the reference has.
	whole := digestOf("sha256", start.data)
	look(whole)
	if digest != whole && digest != start.digest {
		look(digest)
	}
	for i := range v.rules {
		r := &v.rules[i]
		switch r.Requirement {
		case trustpolicy.Reject:
			return nil, v.rejected(r)
		case trustpolicy.AcceptAnything:
			v.message("image accepted without verification by trust policy %s", r.File)
			return nil, nil
		case trustpolicy.Digest:
			if r.Pinned(v.pinned, start.digest, whole, digest) {
				v.message("image has a digest that trust policy %s accepts", r.File)
				return &Verification{Method: MethodDigest, Fingerprint: digest, Prefix: r.Scope.String()}, nil
			}
			v.fault(errNotPinned)
		case trustpolicy.Sigstore:
			ok, err := v.signed(ctx, r.Key)
			if err != nil {
				return nil, v.refused(err)
			}
			if ok {
				v.message("signature verified:\n  cosign key %s", r.Key.ID())
				return &Verification{Method: MethodCosign, Fingerprint: r.Key.ID(), Prefix: r.Scope.String()}, nil
			}
		case trustpolicy.PGP: // which no image of a registry can meet
		}
	}
	return nil, v.refused(hint.With(v.worst(), "its publisher may not sign with the key that is trusted (rkt trust list); %s", unsignedHint))
}

var (
	errNotPinned   = errors.New("its digest is not one that is pinned")
	errNoSignature = errors.New("no signature found")
)

func (v *policyVerifier) fault(err error) { v.faults = append(v.faults, err) }

// worst is the fault that says most: that of a signature by a trusted key first.
func (v *policyVerifier) worst() error {
	for _, want := range []error{cosign.ErrOtherHash, cosign.ErrOtherRef} {
		for _, f := range v.faults {
			if errors.Is(f, want) {
				return f
			}
		}
	}
	for _, f := range v.faults {
		if !errors.Is(f, cosign.ErrNotSigned) && !errors.Is(f, errNotPinned) && !errors.Is(f, errNoSignature) {
			return f
		}
	}
	for _, want := range []error{cosign.ErrNotSigned, errNotPinned} {
		if slices.ContainsFunc(v.faults, func(err error) bool { return errors.Is(err, want) }) {
			return want
		}
	}
	return fmt.Errorf("%w %s", errNoSignature, v.where)
}

// look adds the places where signatures of a manifest are.
func (v *policyVerifier) look(g *registryConn, digest string) {
	tag, err := cosign.Tag(digest)
	if err != nil {
		return // a digest that cosign does not sign
	}
	v.sources = append(v.sources,
		func(ctx context.Context) error { return v.fromTag(ctx, g, digest, tag) },
		func(ctx context.Context) error { return v.fromReferrers(ctx, g, digest) })
}

// signed tells whether one of the signatures is by the key. Places are asked
// only until one has it.
func (v *policyVerifier) signed(ctx context.Context, key *cosign.Key) (bool, error) {
	for next := 0; ; {
		for ; next < len(v.found); next++ {
			s := v.found[next]
			err := v.check(s, key)
			if err == nil {
				return true, nil
			}
			v.fault(err)
		}
		if len(v.sources) == 0 {
			if len(v.found) == 0 {
				v.fault(fmt.Errorf("%w %s", errNoSignature, v.where))
			}
			return false, nil
		}
		ask := v.sources[0]
		v.sources = v.sources[1:]
		if err := ask(ctx); err != nil {
			return false, fmt.Errorf("error downloading the signature: %w", err)
		}
	}
}

// check verifies one signature with one key.
func (v *policyVerifier) check(s registrySignature, key *cosign.Key) error {
	image := v.image
	image.Digest = s.image
	var err error
	if s.bundle != nil {
		_, err = cosign.VerifyBundle([]*cosign.Key{key}, s.bundle, image)
	} else {
		_, err = cosign.Verify([]*cosign.Key{key}, s.payload, s.signature, image)
	}
	return err
}

// fromTag takes the signatures of the manifest at a tag.
func (v *policyVerifier) fromTag(ctx context.Context, g *registryConn, digest, tag string) error {
	doc, err := g.manifest(ctx, tag)
	if isAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return v.entries(ctx, g, digest, doc)
}

// fromReferrers takes the signatures among what refers to the manifest.
func (v *policyVerifier) fromReferrers(ctx context.Context, g *registryConn, digest string) error {
	list, err := g.referrers(ctx, digest)
	if err != nil {
		return err
	}
	n := 0
	for _, d := range list {
		if d.ArtifactType != signatureArtifact && d.ArtifactType != cosign.BundleType || !ociconv.IsManifest(d.MediaType) || d.Size > cosign.MaxManifest {
			continue
		}
		if n++; n > maxReferrers {
			v.debug("more than %d signatures refer to the image, the others are ignored", maxReferrers)
			return nil
		}
		data, err := g.described(ctx, d)
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := v.entries(ctx, g, digest, document{data: data, mediaType: ociconv.DocumentType(data, d.MediaType)}); err != nil {
			return err
		}
	}
	return nil
}

// entries gets the payloads of a signature manifest. One that cannot be had is
// left out: another may be good.
func (v *policyVerifier) entries(ctx context.Context, g blobs, digest string, doc document) error {
	if !ociconv.IsManifest(doc.mediaType) {
		v.fault(fmt.Errorf("signature manifest is of type %q", doc.mediaType))
		return nil
	}
	entries, err := cosign.Entries(doc.data)
	if err != nil {
		v.fault(err)
		return nil
	}
	payloads := map[string][]byte{}
	for _, e := range entries {
		payload, ok := payloads[e.Digest]
		if !ok {
			if v.tried++; v.tried > maxPayloads {
				v.debug("more than %d signatures, the others are ignored", maxPayloads)
				return nil
			}
			payload, err = readBlob(ctx, g, ociconv.Descriptor{Digest: e.Digest, Size: e.Size}, max(cosign.MaxPayload, cosign.MaxBundle))
			if ctx.Err() != nil {
				return err
			}
			if err != nil {
				v.fault(fmt.Errorf("signed payload: %w", err))
				payload = nil
			}
			payloads[e.Digest] = payload
		}
		switch {
		case payload == nil:
		case e.Bundle:
			v.addBundle(digest, payload)
		default:
			v.found = append(v.found, registrySignature{image: digest, payload: payload, signature: e.Signature})
		}
	}
	return nil
}

// addBundle takes a bundle for a signature, if it can be one.
func (v *policyVerifier) addBundle(digest string, data []byte) {
	b, err := cosign.ParseBundle(data)
	if err != nil {
		v.fault(err)
		return
	}
	v.found = append(v.found, registrySignature{image: digest, bundle: b})
}

// referrers lists the manifests that refer to one, from the API or, where the
// registry has none, the tag that stands for it.
func (g *registryConn) referrers(ctx context.Context, digest string) ([]ociconv.Descriptor, error) {
	resp, err := g.request(ctx, http.MethodGet, g.url("referrers", digest), http.Header{"Accept": {ociconv.OCIIndex}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var data []byte
	switch {
	case resp.StatusCode == http.StatusOK:
		if data, err = readCapped(resp.Body, ociconv.MaxManifest); err != nil {
			return nil, fmt.Errorf("referrers of %s: %w", digest, err)
		}
	case resp.StatusCode/100 == 4:
		doc, err := g.manifest(ctx, strings.Replace(digest, ":", "-", 1))
		if isAbsent(err) || err == nil && !ociconv.IsIndex(doc.mediaType) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		data = doc.data
	default:
		return nil, unexpectedCode(resp.StatusCode, resp.Request.URL, resp.Body)
	}
	index, err := ociconv.ParseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("referrers of %s: %w", digest, err)
	}
	return index.Manifests, nil
}

// isAbsent tells that a registry does not have a document.
func isAbsent(err error) bool {
	var code *codeError
	return errors.As(err, &code) && code.Code == http.StatusNotFound
}
