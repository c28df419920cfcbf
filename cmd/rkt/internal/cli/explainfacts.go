// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/explain"
	"github.com/rkt/rkt/v2/pkg/fetch"
	"github.com/rkt/rkt/v2/stage0"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/treestore"
)

// explainConfig is what stage0 needs to explain. asked tells that the insecure
// options of this command line are those that count.
func (d *Deps) explainConfig(ctx context.Context, asked bool) (stage0.ExplainConfig, error) {
	env, err := d.stage0Env(ctx)
	if err != nil {
		return stage0.ExplainConfig{}, err
	}
	images, err := d.Images(ctx)
	if err != nil {
		return stage0.ExplainConfig{}, err
	}
	c := stage0.ExplainConfig{
		Env:          env,
		Verification: func(id appc.ImageID) explain.Verification { return d.verification(id, asked) },
		Stage1ID: func(ctx context.Context, name, treeID string) appc.ImageID {
			return d.imageOfTree(ctx, images, name, treeID)
		},
		Stage1From: func(id appc.ImageID) string { return d.imageFrom(images, id) },
	}
	if asked {
		c.Fetch = d.Global.Insecure.fetchNames()
	}
	return c, nil
}

// fetchNames are the options in force that count while fetching.
func (o *Insecure) fetchNames() []string {
	names := []string{}
	for _, f := range []struct {
		on   bool
		name string
	}{{o.Image, "image"}, {o.TLS, "tls"}, {o.HTTP, "http"}, {o.PubKey, "pubkey"}} {
		if f.on {
			names = append(names, f.name)
		}
	}
	return names
}

// verification tells how the origin of an image was checked. Of one without a
// recorded signature nobody knows under which options it was accepted.
func (d *Deps) verification(id appc.ImageID, asked bool) explain.Verification {
	var signed *imagestore.Verification
	if d.images != nil {
		if rec, err := d.images.Record(id); err == nil {
			signed = rec.Verified
		}
	}
	switch {
	case d.isBuiltIn(id):
		return explain.Verification{Status: explain.VerifiedBuiltIn, Detail: "the image is part of this rkt"}
	case signed != nil:
		status := explain.VerifiedSigned
		if signed.Method == fetch.MethodDigest {
			status = explain.VerifiedPinned
		}
		return explain.Verification{Status: status, Detail: signedBy(signed)}
	case asked && d.Global.Insecure.Image:
		return explain.Verification{Status: explain.VerifiedNot, Detail: "--insecure-options=image: no signature is asked for"}
	}
	return explain.Verification{
		Status: explain.VerifiedUnknown,
		Detail: "no signature was verified when the image was imported; its content is what the ID says",
	}
}

// signedBy is a verification in words.
func signedBy(v *imagestore.Verification) string {
	switch v.Method {
	case fetch.MethodCosign:
		return fmt.Sprintf("signed by cosign key %s, trusted for %s", v.Fingerprint, v.Prefix)
	case fetch.MethodDigest:
		return fmt.Sprintf("pinned to %s by the trust policy for %s", v.Fingerprint, v.Prefix)
	}
	scope := "a root key"
	if v.Prefix != "" {
		scope = "trusted for " + v.Prefix
	}
	return fmt.Sprintf("signed on %s by key %s, %s", v.Signed.UTC().Format("2006-01-02"), v.Fingerprint, scope)
}

func (d *Deps) isBuiltIn(id appc.ImageID) bool {
	for _, image := range d.Embedded {
		if appc.ImageID(image.ID).Key() == id.Key() {
			return true
		}
	}
	return false
}

// imageOfTree finds the image of a stage1 tree among those of the binary and
// those of that name in the store; empty if there is none.
func (d *Deps) imageOfTree(ctx context.Context, images *imagestore.Store, name, treeID string) appc.ImageID {
	for _, image := range d.Embedded {
		if key := appc.ImageID(image.ID).Key(); treestore.ID(string(key)) == treeID {
			return key
		}
	}
	all, err := images.List(ctx)
	if err != nil {
		return ""
	}
	i := slices.IndexFunc(all, func(in imagestore.Info) bool {
		return in.Name.String() == name && treestore.ID(string(in.ID.Key())) == treeID
	})
	if i < 0 {
		return ""
	}
	return all[i].ID.Key()
}

// imageFrom tells where an image came from; empty if nobody knows.
func (d *Deps) imageFrom(images *imagestore.Store, id appc.ImageID) string {
	var from []string
	if d.isBuiltIn(id) {
		from = append(from, "the image in this rkt")
	}
	rec, err := images.Record(id)
	if err == nil {
		for _, r := range rec.Remotes {
			from = append(from, redacted(r.URL))
		}
	}
	return strings.Join(from, ", ")
}

// redacted is a URL without a password.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "somewhere"
	}
	return u.Redacted()
}
