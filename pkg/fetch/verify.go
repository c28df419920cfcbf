// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/keystore"
	"github.com/rkt/rkt/v2/pkg/progress"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
)

// mustVerify tells whether the image needs a signature.
func (r *run) mustVerify() bool { return !r.Insecure.Image && !r.o.Trusted }

// signatureFile is where the signature of an archive is: beside it.
func signatureFile(path string) string { return strings.TrimSuffix(path, ".aci") + ".aci.asc" }

// verifyError is an image that is refused, or cannot be verified. Its text says which.
type verifyError struct{ err error }

func (e *verifyError) Error() string { return e.err.Error() }
func (e *verifyError) Unwrap() error { return e.err }

// verifier decides on one image while its archive is read. The nil verifier
// lets everything pass.
type verifier struct {
	*run
	sigs *keystore.Signatures
	want *distribution.Appc // nil: any name

	digest *keystore.Digest
	whole  bool // the archive was read to its end

	// later, if set, gets the signatures, and hashes the archive once more: the
	// server had none before it was asked for the image.
	later func() error
}

var errNoKeystore = hint.With(errors.New("no keystore to verify signatures with (try --insecure-options=image)"), unsignedHint)

// verifierOfFile reads a signature that is a local file.
func (r *run) verifierOfFile(path string) (*verifier, error) {
	if r.Keys == nil {
		return nil, &verifyError{errNoKeystore}
	}
	f, err := openRegular(path)
	if err != nil {
		err = hint.With(fmt.Errorf("error opening signature file: %w", err), "put the image's detached signature there or "+
			"name it with --signature=FILE; %s", unsignedHint)
		return nil, &verifyError{err}
	}
	defer f.Close()
	sigs, err := keystore.ReadSignatures(f)
	if err == nil {
		err = sigs.Check(time.Now())
	}
	if err != nil {
		return nil, &verifyError{fmt.Errorf("signature file %s: %w", path, err)}
	}
	return &verifier{run: r, sigs: sigs}, nil
}

// verifier gets the signature of a download, before anything else is fetched.
func (d *download) verifier(ctx context.Context) (*verifier, error) {
	if !d.mustVerify() {
		return nil, nil
	}
	if d.source.signature != "" {
		v, err := d.verifierOfFile(d.source.signature)
		if err != nil {
			return nil, err
		}
		v.want = d.source.want
		return v, v.checkEarly()
	}
	if d.Keys == nil {
		return nil, &verifyError{errNoKeystore}
	}
	v := &verifier{run: d.run, want: d.source.want}
	var err error
	v.sigs, err = d.fetchSignatures(ctx)
	if errors.Is(err, errDeferred) {
		d.message("server requested deferring the signature download")
		v.later = func() error { return d.verifyLater(ctx, v) }
		return v, nil
	}
	if err != nil {
		return nil, signatureDownloadError(err)
	}
	return v, v.checkEarly()
}

func signatureDownloadError(err error) error {
	err = fmt.Errorf("error downloading the signature file: %w", err)
	if hint.Of(err) == "" {
		err = hint.With(err, unsignedHint)
	}
	return &verifyError{err}
}

// errDeferred is a server that has a signature only once the image was asked for.
var errDeferred = errors.New("server asked to defer the download again")

// fetchSignatures is one GET.
func (d *download) fetchSignatures(ctx context.Context) (*keystore.Signatures, error) {
	from := d.source.sigURL
	d.debug("downloading signature from %s", from)
	u, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	d.authorize(req)
	resp, err := send(d.client, req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusAccepted:
		return nil, errDeferred
	default:
		return nil, fmt.Errorf("%s: %w", from, &statusError{resp.StatusCode})
	}
	bar := d.display.Bar(progress.Options{Name: "signature", Total: resp.ContentLength})
	defer bar.Done()
	sigs, err := keystore.ReadSignatures(bar.Reader(resp.Body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return sigs, nil
}

// verifyLater gets the signature now that all of the image is there.
func (d *download) verifyLater(ctx context.Context, v *verifier) error {
	var err error
	if v.sigs, err = d.fetchSignatures(ctx); err != nil {
		return signatureDownloadError(err)
	}
	v.digest = v.sigs.Begin()
	_, err = io.Copy(v.digest, until(ctx, d.part.received()))
	return err
}

// checkEarly finds what makes the signature useless whatever the image is, so
// that the image is not downloaded for nothing.
func (v *verifier) checkEarly() error {
	if v.want == nil {
		if err := v.sigs.Check(time.Now()); err != nil {
			return &verifyError{err}
		}
		return nil
	}
	ring, err := v.Keys.Keyring(v.want.Name)
	if err == nil {
		err = v.sigs.CheckSigners(ring, time.Now())
	}
	if err != nil {
		return v.refused(v.want.Name, err, "%q")
	}
	return nil
}

// refused says that an image is not accepted. verb is how its name is printed.
func (v *verifier) refused(name appc.Identifier, err error, verb string) error {
	if errors.Is(err, keystore.ErrUnknownSigner) {
		v.message("If you expected the signing key to change, try running:\n    rkt trust --prefix "+verb, name.String())
	}
	return &verifyError{fmt.Errorf("image %q verification failed: %w", name, err)}
}

// reader hashes what passes. Each call starts from the beginning.
func (v *verifier) reader(r io.Reader) io.Reader {
	if v == nil {
		return r
	}
	v.whole = false
	if v.later == nil {
		v.digest = v.sigs.Begin()
		r = io.TeeReader(r, v.digest)
	}
	return readerFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if errors.Is(err, io.EOF) {
			v.whole = true
		}
		return n, err
	})
}

// accepter is the decision for the store.
func (v *verifier) accepter() func(*appc.ImageManifest) (*Verification, error) {
	if v == nil {
		return nil
	}
	return v.accept
}

// accept decides. It runs once the archive was read to its end.
func (v *verifier) accept(m *appc.ImageManifest) (*Verification, error) {
	if !v.whole {
		return nil, &verifyError{fmt.Errorf("image %q verification failed: it was not read to its end", m.Name)}
	}
	if v.later != nil {
		if err := v.later(); err != nil {
			return nil, err
		}
	}
	if v.want != nil {
		if err := isWanted(m, v.want); err != nil {
			return nil, &verifyError{err}
		}
	}
	if err := v.policy(m.Name); err != nil {
		return nil, err
	}
	ring, err := v.Keys.Keyring(m.Name)
	if err != nil {
		return nil, v.refused(m.Name, err, "%s")
	}
	good, err := v.digest.Verify(ring, time.Now())
	if err != nil {
		return nil, v.refused(m.Name, err, "%s")
	}
	v.message("signature verified:%s", indented(good.Identities))
	return &Verification{
		Fingerprint: string(good.Fingerprint), Prefix: string(good.Scope), Signed: good.Signed.UTC(),
	}, nil
}

// policy asks the rules, which can only reject what needs a signature anyway.
func (v *verifier) policy(name appc.Identifier) error {
	if v.Policies == nil {
		return nil
	}
	rules, err := v.Policies.Load()
	if err != nil {
		return &verifyError{err}
	}
	for _, r := range rules.ForACI(name) {
		switch r.Requirement {
		case trustpolicy.Reject:
			return &verifyError{fmt.Errorf("image %q verification failed: trust policy %s rejects %s", name, r.File, r.Scope)}
		case trustpolicy.PGP:
			return nil
		case trustpolicy.AcceptAnything, trustpolicy.Digest, trustpolicy.Sigstore: // for registries
		}
	}
	return nil
}

func indented(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString("\n  " + l)
	}
	return b.String()
}

// isWanted holds an image to the name and labels it was asked for by.
func isWanted(m *appc.ImageManifest, want *distribution.Appc) error {
	if m.Name != want.Name {
		return fmt.Errorf("error when reading the app name: %q expected but %q found", want.Name, m.Name)
	}
	for _, l := range want.Labels {
		got, ok := m.Labels.Get(l.Name.String())
		switch {
		case !ok:
			return fmt.Errorf("requested label %q not provided by the image manifest", l.Name)
		case got != l.Value:
			return fmt.Errorf("requested value for label %q: %q differs from fetched aci label value: %q", l.Name, l.Value, got)
		}
	}
	return nil
}
