// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/discovery"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// finder is discovery as the user wants it.
func (r *run) finder() *discovery.Finder {
	return &discovery.Finder{
		HTTP: r.Insecure.HTTP, TLS: r.Insecure.TLS, UserAgent: r.userAgent(), Authorize: r.authorizePage, PageTimeout: r.Stall,
		Failed: func(tag, candidate string, err error) {
			r.debug("meta tag '%s' not found on %s: %v", tag, candidate, err)
		},
	}
}

// authorizePage adds the credentials for a page of discovery. Those of AWS are
// for downloads only.
func (r *run) authorizePage(req *http.Request) {
	if r.Auth == nil {
		return
	}
	if entry, ok := r.Auth.AuthFor(req.URL); ok && entry.Type != config.AuthAWS {
		r.authorize(req)
	}
}

// discover asks where the image is and downloads it from the first place that
// has it.
func (n *names) discover(ctx context.Context, w wanted, labels appc.Labels) (appc.ImageID, error) {
	endpoints, err := n.finder.Endpoints(ctx, discovery.App{Name: w.Name, Labels: labels})
	if err != nil {
		return "", n.hintName(fmt.Errorf("discovery failed for %q: %w", w.Name, err), w, labels)
	}
	_, hasVersion := w.Labels.Get("version")
	want := distribution.Appc{Name: w.Name, Labels: labels}
	var all []error
	for i, e := range endpoints {
		src := source{url: e.ACI.String(), sigURL: e.ASC.String(), signature: w.signature, latest: !hasVersion, want: &want}
		if e.ACI.Scheme == "http" && n.Insecure.Image {
			n.message("warning: %q comes unverified and over plain http", w.text)
		}
		id, err := n.fromPlace(ctx, src, w.id, i > 0)
		if err == nil {
			return id, nil
		}
		if ctx.Err() != nil {
			return "", err
		}
		all = append(all, err)
		if len(all) < len(endpoints) {
			n.message("%q: %v, trying the next place", w.text, err)
		}
	}
	return "", fmt.Errorf("image name %q: %w", w.text, oneLine(all))
}

// fromPlace downloads the image from one place. The keys need not be looked
// for again if another place was tried before.
func (n *names) fromPlace(ctx context.Context, src source, id appc.ImageID, again bool) (appc.ImageID, error) {
	fetcher := *n.Fetcher
	fetcher.Store = &strictStore{Store: n.Store, id: id, accept: func(m *appc.ImageManifest) error { return n.checkName(m, src.want) }}
	if again {
		fetcher.TrustKeys = nil
	}
	r := *n.run
	r.Fetcher, r.owned = &fetcher, false
	known, had, err := n.Store.Remote(src.url)
	if err != nil {
		return "", fmt.Errorf("image from URL %q: %w", src.url, err)
	}
	got, err := r.fromSource(ctx, src)
	if err != nil || !had || got != known.Key {
		return got, err
	}
	// What has not changed was not looked at on the way.
	m, err := n.Store.Manifest(got)
	if err != nil {
		return "", fmt.Errorf("image manifest of %s: %w", got, err)
	}
	return got, n.checkName(m, src.want)
}

// checkName holds an image to the name and the labels it was asked for by.
// Whoever does without signatures gets what is there.
func (n *names) checkName(m *appc.ImageManifest, want *distribution.Appc) error {
	err := isWanted(m, want)
	if err != nil && n.Insecure.Image {
		n.message("warning: %v", err)
		return nil
	}
	return err
}

// strictStore is the store for an image that has to be a certain one.
type strictStore struct {
	Store
	id     appc.ImageID // "": any
	accept func(*appc.ImageManifest) error
}

func (s *strictStore) ImportACI(ctx context.Context, r io.Reader, o ImportOptions) (appc.ImageID, error) {
	if s.id != "" {
		o.WantID = s.id
	}
	verify := o.Accept
	o.Accept = func(m *appc.ImageManifest) (*Verification, error) {
		if err := s.accept(m); err != nil || verify == nil {
			return nil, err
		}
		return verify(m)
	}
	return s.Store.ImportACI(ctx, r, o)
}

// hintName adds to a failed discovery what the user can do about it.
func (n *names) hintName(err error, w wanted, labels appc.Labels) error {
	var certificate *tls.CertificateVerificationError
	var op *net.OpError
	var record tls.RecordHeaderError
	host, _, _ := strings.Cut(w.Name.String(), "/")
	_, serr := n.Store.Find(w.Name, labels)
	switch {
	case serr == nil:
		return hint.With(err, "use the image of this name that is in the store with --pull-policy=new")
	case errors.As(err, &certificate):
		return hint.With(err, "add the certificate of the authority of %s to those of the system, or accept any with --insecure-options=tls", host)
	case !strings.Contains(host, ".") && isReference(w.text):
		return hint.With(err, "write docker://%s for an image in a registry: the name of an image begins with the name of a host", w.text)
	case !n.Insecure.HTTP && (errors.As(err, &record) || errors.As(err, &op) && op.Op == "dial"):
		return hint.With(err, "if %s serves plain http only, allow that with --insecure-options=http", host)
	}
	return hint.With(err, "check the name, or give the URL or file of the image instead: no page of %s says where it is", host)
}

// isReference tells whether a text could be that of an image in a registry.
func isReference(text string) bool {
	_, err := distribution.ParseReference(text)
	return err == nil
}

// joined is several errors on one line.
type joined []error

func oneLine(all []error) error {
	if len(all) == 1 {
		return all[0]
	}
	return joined(all)
}

func (j joined) Error() string {
	texts := make([]string, 0, len(j))
	for _, err := range j {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }
