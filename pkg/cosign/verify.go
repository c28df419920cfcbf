// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// PayloadType is the media type of a payload.
const PayloadType = "application/vnd.dev.cosign.simplesigning.v1+json"

const (
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	payloadKind         = "cosign container image signature"
)

// Faults of signatures.
var (
	ErrNotSigned = errors.New("no signature by a trusted key")
	ErrOtherRef  = errors.New("signature is for another image name")
	ErrOtherHash = errors.New("signature is for another manifest")
)

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Tag is the tag at which the signatures of a manifest are, in the image's repository.
func Tag(digest string) (string, error) {
	if !digestPattern.MatchString(digest) {
		return "", fmt.Errorf("unsupported digest %q", digest)
	}
	return strings.Replace(digest, ":", "-", 1) + ".sig", nil
}

// Entry is one signature of a signature manifest.
type Entry struct {
	Digest    string // of the payload, which is a blob
	Size      int64
	Signature []byte // of a payload
	Bundle    bool   // the blob is a bundle, which has its signature inside
}

// Entries lists the signatures of a signature manifest. Layers that are something
// else are left out.
func Entries(manifest []byte) ([]Entry, error) {
	if len(manifest) > MaxManifest {
		return nil, fmt.Errorf("signature manifest is larger than the limit of %d bytes", MaxManifest)
	}
	var m struct {
		Layers []struct {
			MediaType   string            `json:"mediaType"`
			Digest      string            `json:"digest"`
			Size        int64             `json:"size"`
			Annotations map[string]string `json:"annotations"`
		} `json:"layers"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, fmt.Errorf("signature manifest: %w", err)
	}
	var entries []Entry
	for _, l := range m.Layers {
		if l.MediaType == BundleType && digestPattern.MatchString(l.Digest) && l.Size >= 0 && l.Size <= MaxBundle && len(entries) < maxEntries {
			entries = append(entries, Entry{Digest: l.Digest, Size: l.Size, Bundle: true})
			continue
		}
		text, ok := l.Annotations[signatureAnnotation]
		if l.MediaType != PayloadType || !ok {
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(text)
		switch {
		case err != nil:
			continue // that of somebody else may be good
		case !digestPattern.MatchString(l.Digest) || l.Size < 0 || l.Size > MaxPayload:
			continue
		case len(entries) == maxEntries:
			return entries, nil
		}
		entries = append(entries, Entry{Digest: l.Digest, Size: l.Size, Signature: signature})
	}
	return entries, nil
}

// Image is what has to be signed.
type Image struct {
	Digest     string // of the manifest, or of the index that led to it
	Repository string // HOST/PATH as the user means it
	Tag        string // empty if the user gave none, or a digest
	// Local is an image that comes from a file or directory: the user did not
	// name a repository, and what was signed may have any.
	Local bool
}

// Verify tells whether the signature is of the payload, by one of the keys,
// and the payload about the image. It returns the key.
func Verify(keys []*Key, payload, signature []byte, image Image) (*Key, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("payload is larger than the limit of %d bytes", MaxPayload)
	}
	for _, k := range keys {
		if k.signed(payload, signature) {
			return k, about(payload, image)
		}
	}
	return nil, ErrNotSigned
}

// about tells whether a payload that is signed is about the image.
func about(payload []byte, image Image) error {
	var p struct {
		Critical struct {
			Identity struct {
				Reference string `json:"docker-reference"`
			} `json:"identity"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return fmt.Errorf("signed payload: %w", err)
	}
	c := p.Critical
	switch {
	case c.Type != payloadKind:
		return fmt.Errorf("signed payload is a %q, not a %q", c.Type, payloadKind)
	case !digestPattern.MatchString(image.Digest) || c.Image.Digest != image.Digest:
		return fmt.Errorf("%w: %q expected but %q signed", ErrOtherHash, image.Digest, c.Image.Digest)
	}
	if c.Identity.Reference == "" {
		return fmt.Errorf("%w: %q expected but none signed", ErrOtherRef, image)
	}
	return image.named(c.Identity.Reference)
}

// named tells whether a reference that was signed is that of the image.
func (i Image) named(reference string) error {
	if reference == "" || i.Local {
		return nil
	}
	repository, tag, digest := splitReference(reference)
	if repository == "" || repository != canonical(i.Repository) ||
		tag != "" && i.Tag != "" && tag != i.Tag ||
		digest != "" && digest != i.Digest {
		return fmt.Errorf("%w: %q expected but %q signed", ErrOtherRef, i, reference)
	}
	return nil
}

// String is the reference.
func (i Image) String() string {
	if i.Tag == "" {
		return i.Repository
	}
	return i.Repository + ":" + i.Tag
}

// splitReference takes HOST/PATH[:TAG][@DIGEST] apart.
func splitReference(ref string) (repository, tag, digest string) {
	ref, digest, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref, tag = ref[:i], ref[i+1:]
	}
	return canonical(ref), tag, digest
}

// canonical gives Docker Hub one name.
func canonical(repository string) string {
	if repository == "" {
		return ""
	}
	host, path, ok := strings.Cut(repository, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, path = "docker.io", repository
	}
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		host = "docker.io"
		if path != "" && !strings.Contains(path, "/") {
			path = "library/" + path
		}
	}
	return host + "/" + path
}
