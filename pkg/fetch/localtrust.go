// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/rkt/rkt/v2/pkg/cosign"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
)

// localVerifier finds the rules for an image of local files, before anything
// but its path is looked at. what is the image for people.
func (r *run) localVerifier(form trustpolicy.Form, path, digest, what string) (*policyVerifier, error) {
	if !r.mustVerify() {
		return nil, nil
	}
	var rules trustpolicy.Rules
	if r.Policies != nil {
		all, err := r.Policies.Load()
		if err != nil {
			return nil, &verifyError{err}
		}
		// Rules are about where the files are, not how somebody got there.
		target, err := filepath.EvalSymlinks(path)
		if err == nil {
			target, err = filepath.Abs(target)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		rules = all.ForLocal(form, target)
	}
	v := &policyVerifier{run: r, what: what, pinned: digest, rules: rules, image: cosign.Image{Local: true}, where: "beside the image"}
	if !slices.ContainsFunc(rules, func(r trustpolicy.Rule) bool { return r.Requirement != trustpolicy.PGP }) {
		err := fmt.Errorf("signature verification is not supported for %s (try --insecure-options=image)", what)
		return nil, hint.With(err, "pin its digest in a trust policy (docs/trust.md); or, %s", unsignedHint)
	}
	if rules[0].Requirement == trustpolicy.Reject {
		return nil, v.rejected(&rules[0])
	}
	return v, nil
}

// verifyLocal decides on an image that was found among local files. Its
// signatures, if any, are in the same image layout.
func (v *policyVerifier) verifyLocal(ctx context.Context, i *importImage) (*Verification, error) {
	start := i.manifest
	if i.start != nil {
		start = *i.start
	}
	l, _ := i.from.(*layout)
	return v.verify(ctx, func(digest string) { v.lookLocal(l, digest) }, start, i.manifest.digest)
}

// lookLocal adds the signatures of a manifest that are in a layout.
func (v *policyVerifier) lookLocal(l *layout, digest string) {
	tag, err := cosign.Tag(digest)
	if err != nil || l == nil {
		return
	}
	v.sources = append(v.sources, func(ctx context.Context) error { return v.fromLayout(ctx, l, digest, tag) })
}

// signatureKind and kindAnnotation mark signatures in what "cosign save" writes.
const (
	kindAnnotation = "kind"
	signatureKind  = "dev.cosignproject.cosign/sigs"
)

// fromLayout takes the signatures among the entries of the index. Which image
// one is of it says itself.
func (v *policyVerifier) fromLayout(ctx context.Context, l *layout, digest, tag string) error {
	index, err := readIndex(l.tree)
	if err != nil {
		return err
	}
	n := 0
	for _, d := range index.Manifests {
		signs := d.RefName() == tag || d.Annotations[kindAnnotation] == signatureKind ||
			d.ArtifactType == signatureArtifact || d.ArtifactType == cosign.BundleType
		if !signs || !ociconv.IsManifest(d.MediaType) || d.Size > cosign.MaxManifest {
			continue
		}
		if n++; n > maxReferrers {
			v.debug("more than %d signatures in the layout, the others are ignored", maxReferrers)
			return nil
		}
		data, err := readBlob(ctx, l, d, cosign.MaxManifest)
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if err != nil {
			v.fault(fmt.Errorf("signature manifest: %w", err))
			continue
		}
		if err := v.entries(ctx, l, digest, document{data: data, mediaType: ociconv.DocumentType(data, d.MediaType)}); err != nil {
			return err
		}
	}
	return nil
}
