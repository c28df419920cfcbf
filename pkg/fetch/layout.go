// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
)

func (r *run) fromLayout(ctx context.Context, p distribution.OCILayout) (appc.ImageID, error) {
	v, err := r.localVerifier(trustpolicy.Layout, p.Path, p.Digest, p.String())
	if err != nil {
		return "", err
	}
	tree, err := openDir(p.Path)
	if err != nil {
		return "", fmt.Errorf("open image layout: %w", err)
	}
	defer tree.close()
	return r.local(ctx, p, &layout{run: r, tree: tree, path: p.Path, ref: p.Ref, digest: p.Digest}, v)
}

func (r *run) fromOCIArchive(ctx context.Context, p distribution.OCIArchive) (appc.ImageID, error) {
	v, err := r.localVerifier(trustpolicy.OCIArchive, p.Path, p.Digest, p.String())
	if err != nil {
		return "", err
	}
	tree, err := openTar(ctx, p.Path, r.Store.TempDir())
	if err != nil {
		return "", fmt.Errorf("open image archive: %w", err)
	}
	defer tree.close()
	return r.local(ctx, p, &layout{run: r, tree: tree, path: p.Path, ref: p.Ref, digest: p.Digest}, v)
}

// localImage finds one image among local files.
type localImage interface {
	find(ctx context.Context) (*importImage, error)
}

// local imports an image from local files, unless exactly that one came from
// the same place before. Like files, it ignores the pull policy.
func (r *run) local(ctx context.Context, p distribution.Point, l localImage, v *policyVerifier) (appc.ImageID, error) {
	r.debug("using image from %s", p)
	i, err := l.find(ctx)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p, err)
	}
	verified, err := v.verifyLocal(ctx, i)
	if err != nil {
		return "", err
	}
	remote := Remote{URL: p.CIMD(), Downloaded: time.Now(), ManifestDigest: i.manifest.digest}
	key, ok, err := r.Store.FindOCI(ctx, remote.URL, remote.ManifestDigest)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p, err)
	}
	if ok {
		remote.Key = key
		return r.unchanged(remote, verified)
	}
	i.remote, i.verified = &remote, verified
	id, err := i.do(ctx)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p, err)
	}
	return id, nil
}

// layout is an OCI image layout.
type layout struct {
	*run
	tree        fileTree
	path        string
	ref, digest string
}

// open gets a blob; a negative size is not checked.
func (l *layout) open(ctx context.Context, d ociconv.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := ociconv.CheckDigest(d.Digest); err != nil {
		return nil, err
	}
	algorithm, digits, _ := strings.Cut(d.Digest, ":")
	f, err := l.tree.open("blobs/" + algorithm + "/" + digits)
	if err != nil {
		return nil, err
	}
	return fromOffset(ctx, f, d, offset)
}

// fromOffset checks the size of a local blob and skips what is there already.
func fromOffset(ctx context.Context, f content, d ociconv.Descriptor, offset int64) (io.ReadCloser, error) {
	if d.Size >= 0 && f.Size() != d.Size {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %d bytes expected but %d found", d.Digest, d.Size, f.Size())
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, err
	}
	return readCloser{until(ctx, f), f}, nil
}

func (l *layout) document(ctx context.Context, d ociconv.Descriptor) ([]byte, error) {
	return readBlob(ctx, l, d, ociconv.MaxManifest)
}

func (l *layout) find(ctx context.Context) (*importImage, error) {
	d, err := l.entry()
	if err != nil {
		return nil, err
	}
	ref := l.ref
	if ref == "" {
		ref = d.RefName()
	}
	doc, err := l.read(ctx, d)
	if err != nil {
		return nil, err
	}
	start := doc
	d, chosen, err := l.choose(ctx, doc, l.document)
	if err != nil {
		return nil, err
	}
	if chosen == nil {
		if doc, err = l.read(ctx, d); err != nil {
			return nil, err
		}
		chosen = &doc
	}
	return &importImage{run: l.run, from: l, start: &start, manifest: *chosen, origin: ociconv.FromFile(l.path, ref)}, nil
}

func (l *layout) read(ctx context.Context, d ociconv.Descriptor) (document, error) {
	data, err := l.document(ctx, d)
	if err != nil {
		return document{}, fmt.Errorf("image manifest: %w", err)
	}
	return document{data: data, mediaType: ociconv.DocumentType(data, d.MediaType), digest: d.Digest}, nil
}

// entry finds the descriptor of the image in index.json.
func (l *layout) entry() (ociconv.Descriptor, error) {
	if err := l.checkVersion(); err != nil {
		return ociconv.Descriptor{}, err
	}
	index, err := readIndex(l.tree)
	if err != nil {
		return ociconv.Descriptor{}, err
	}
	if l.digest != "" {
		return entryByDigest(index, l.digest, l.ref)
	}
	return l.entryByRef(index)
}

// readIndex reads index.json or, of an archive made before there was one, the
// descriptors in the directory refs, whose names are those of the images.
func readIndex(tree fileTree) (*ociconv.Index, error) {
	data, err := readFile(tree, "index.json", ociconv.MaxManifest)
	archive, ok := tree.(*tarTree)
	if err == nil || !ok || !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		return ociconv.ParseIndex(data)
	}
	index := &ociconv.Index{}
	for _, name := range archive.list("refs") {
		data, rerr := readFile(tree, name, maxLayoutFile)
		if rerr != nil {
			return nil, rerr
		}
		var d ociconv.Descriptor
		if rerr := json.Unmarshal(data, &d); rerr != nil {
			return nil, fmt.Errorf("%s: %w", name, rerr)
		}
		if rerr := ociconv.CheckDigest(d.Digest); rerr != nil {
			return nil, fmt.Errorf("%s: %w", name, rerr)
		}
		d.Annotations = map[string]string{ociconv.RefNameAnnotation: strings.TrimPrefix(name, "refs/")}
		if len(index.Manifests) == maxDraftRefs {
			return nil, fmt.Errorf("more than %d images", maxDraftRefs)
		}
		index.Manifests = append(index.Manifests, d)
	}
	if len(index.Manifests) == 0 {
		return nil, err
	}
	return index, nil
}

func entryByDigest(index *ociconv.Index, digest, ref string) (ociconv.Descriptor, error) {
	for _, d := range index.Manifests {
		if d.Digest == digest && (ref == "" || d.RefName() == ref) {
			return d, nil
		}
	}
	if ref != "" {
		return ociconv.Descriptor{}, fmt.Errorf("image %q does not have the digest %s", ref, digest)
	}
	// A manifest below an index is not listed.
	return ociconv.Descriptor{Digest: digest, Size: -1}, nil
}

// entryByRef allows several entries of one name, which then differ in their
// platform.
func (l *layout) entryByRef(index *ociconv.Index) (ociconv.Descriptor, error) {
	found := &ociconv.Index{}
	var refs []string
	for _, d := range index.Manifests {
		if name := d.RefName(); name != "" && !slices.Contains(refs, name) {
			refs = append(refs, name)
		}
		if l.ref == "" || d.RefName() == l.ref {
			found.Manifests = append(found.Manifests, d)
		}
	}
	switch {
	case len(found.Manifests) == 1:
		return found.Manifests[0], nil
	case len(found.Manifests) == 0 && l.ref == "":
		return ociconv.Descriptor{}, errors.New("image layout holds no image")
	case len(found.Manifests) == 0:
		return ociconv.Descriptor{}, fmt.Errorf("no image %q; available: %s", l.ref, strings.Join(refs, ", "))
	case l.ref == "" && len(refs) > 0:
		return ociconv.Descriptor{}, fmt.Errorf("several images, choose one by appending :REF; available: %s", strings.Join(refs, ", "))
	}
	return found.Choose(l.Platform)
}

// layoutVersion is the only version of the image layout.
const layoutVersion = "1.0.0"

func (l *layout) checkVersion() error {
	data, err := readFile(l.tree, "oci-layout", maxLayoutFile)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("not an OCI image layout: it has no file oci-layout")
	}
	if err != nil {
		return err
	}
	var v struct {
		ImageLayoutVersion string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("oci-layout: %w", err)
	}
	if v.ImageLayoutVersion != layoutVersion {
		return fmt.Errorf("image layout version %q is not supported (want %s)", v.ImageLayoutVersion, layoutVersion)
	}
	return nil
}
