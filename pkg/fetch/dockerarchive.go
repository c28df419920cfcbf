// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
)

func (r *run) fromDockerArchive(ctx context.Context, p distribution.DockerArchive) (appc.ImageID, error) {
	v, err := r.localVerifier(trustpolicy.DockerArchive, p.Path, "", p.String())
	if err != nil {
		return "", err
	}
	tree, err := openTar(ctx, p.Path, r.Store.TempDir())
	if err != nil {
		return "", fmt.Errorf("open image archive: %w", err)
	}
	defer tree.close()
	return r.local(ctx, p, &dockerArchive{run: r, tree: tree, path: p.Path, ref: p.Ref}, v)
}

// dockerArchive is the output of "docker save". It has had three forms, each
// kept beside the next one for older readers: the newest one that is there is used.
type dockerArchive struct {
	*run
	tree fileTree
	path string
	ref  string // NAME:TAG, @N or empty
}

func (a *dockerArchive) find(ctx context.Context) (*importImage, error) {
	for _, form := range []struct {
		file string
		find func(context.Context) (*importImage, error)
	}{
		{"index.json", a.findLayout},
		{"manifest.json", a.findManifest},
		{"repositories", a.findLegacy},
	} {
		f, err := a.tree.open(form.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_ = f.Close()
		return form.find(ctx)
	}
	return nil, errors.New("not a docker archive: it has none of index.json, manifest.json and repositories")
}

// containerdName is the annotation with the full name of an image.
const containerdName = "io.containerd.image.name"

// findLayout uses the OCI layout that docker writes since version 25. A
// layout whose index names nothing falls back to manifest.json.
func (a *dockerArchive) findLayout(ctx context.Context) (*importImage, error) {
	data, err := readFile(a.tree, "index.json", ociconv.MaxManifest)
	if err != nil {
		return nil, err
	}
	index, err := ociconv.ParseIndex(data)
	if err != nil {
		return nil, err
	}
	if len(index.Manifests) == 0 {
		return a.findManifest(ctx)
	}
	names := indexNames(index)
	n, err := a.selectImage(names)
	if err != nil {
		return nil, err
	}
	l := &layout{run: a.run, tree: a.tree, path: a.path, ref: "", digest: index.Manifests[n].Digest}
	i, err := l.find(ctx)
	if err != nil {
		return nil, err
	}
	i.origin = a.origin(names[n])
	return i, nil
}

func indexNames(index *ociconv.Index) [][]string {
	names := make([][]string, len(index.Manifests))
	for i, d := range index.Manifests {
		for _, name := range []string{d.Annotations[containerdName], d.RefName()} {
			if name != "" && (strings.ContainsAny(name, ":/") || len(names[i]) == 0) {
				names[i] = append(names[i], name)
			}
		}
	}
	return names
}

// origin names the image by what the user said, or the first name it has.
func (a *dockerArchive) origin(names []string) ociconv.Origin {
	ref := a.ref
	if (ref == "" || strings.HasPrefix(ref, "@")) && len(names) > 0 {
		ref = familiar(names[0])
	} else if strings.HasPrefix(ref, "@") {
		ref = ""
	}
	return ociconv.FromFile(a.path, ref)
}

// familiar is the name as docker shows it, with the tag always there.
func familiar(name string) string {
	d, err := distribution.ParseReference(name)
	if err != nil || !strings.ContainsAny(name, ":/") {
		return name
	}
	if d.Tag == "latest" {
		return d.String() + ":latest"
	}
	return d.String()
}

// selectImage picks one of several images by the names each of them has.
func (a *dockerArchive) selectImage(images [][]string) (int, error) {
	if number, ok := strings.CutPrefix(a.ref, "@"); ok {
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n >= len(images) {
			return 0, fmt.Errorf("no image %s: the archive has %d", a.ref, len(images))
		}
		return n, nil
	}
	if a.ref == "" {
		if len(images) == 1 {
			return 0, nil
		}
		return 0, fmt.Errorf("%d images, choose one by appending :NAME:TAG or :@N; available: %s",
			len(images), strings.Join(slices.Concat(images...), ", "))
	}
	for i, names := range images {
		if slices.ContainsFunc(names, func(name string) bool { return sameReference(name, a.ref) }) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no image %q; available: %s", a.ref, strings.Join(slices.Concat(images...), ", "))
}

func sameReference(a, b string) bool {
	x, err := distribution.ParseReference(a)
	if err != nil {
		return false
	}
	y, err := distribution.ParseReference(b)
	return err == nil && x.Equal(y)
}

// saved is an image in manifest.json.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string // base first
}

func (a *dockerArchive) findManifest(ctx context.Context) (*importImage, error) {
	images, names, err := readSaved(a.tree)
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, errors.New("manifest.json names no image")
	}
	n, err := a.selectImage(names)
	if err != nil {
		return nil, err
	}
	config, err := readFile(a.tree, images[n].Config, ociconv.MaxConfig)
	if err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	if err := checkConfigName(images[n].Config, config); err != nil {
		return nil, err
	}
	i, err := a.synthesize(ctx, config, images[n].Layers)
	if err != nil {
		return nil, err
	}
	i.origin = a.origin(names[n])
	return i, nil
}

func readSaved(tree fileTree) (images []saved, names [][]string, err error) {
	data, err := readFile(tree, "manifest.json", ociconv.MaxManifest)
	if err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(data, &images); err != nil {
		return nil, nil, fmt.Errorf("manifest.json: %w", err)
	}
	for _, image := range images {
		names = append(names, image.RepoTags)
	}
	return images, names, nil
}

var hexFile = regexp.MustCompile(`(?:^|/)([a-f0-9]{64})(?:\.json)?$`)

// checkConfigName holds the config to its file name, which is its digest.
func checkConfigName(name string, config []byte) error {
	m := hexFile.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	return checkDigest("sha256:"+m[1], config)
}

// files are layers under names of their own.
type files struct {
	tree fileTree
	name map[string]string // by digest
}

func (f *files) open(ctx context.Context, d ociconv.Descriptor, offset int64) (io.ReadCloser, error) {
	in, err := f.tree.open(f.name[d.Digest])
	if err != nil {
		return nil, err
	}
	return fromOffset(ctx, in, d, offset)
}

// synthesize makes the manifest that the archive lacks. The same archive
// always gives the same one.
func (a *dockerArchive) synthesize(ctx context.Context, config []byte, layers []string) (*importImage, error) {
	parsed, err := ociconv.ParseConfig(config)
	if err != nil {
		return nil, err
	}
	if len(parsed.DiffIDs) != len(layers) {
		return nil, fmt.Errorf("archive has %d layers but the image config has %d", len(layers), len(parsed.DiffIDs))
	}
	from := &files{tree: a.tree, name: map[string]string{}}
	descriptors := make([]ociconv.Descriptor, len(layers))
	for i, name := range layers {
		d, err := describeLayer(ctx, a.tree, name, parsed.DiffIDs[i])
		if err != nil {
			return nil, fmt.Errorf("layer %q: %w", name, err)
		}
		descriptors[i] = d
		from.name[d.Digest] = name
	}
	data, err := ociconv.NewManifest(config, descriptors)
	if err != nil {
		return nil, err
	}
	doc := document{data: data, mediaType: ociconv.DockerManifest, digest: digestOf("sha256", data)}
	return &importImage{run: a.run, from: from, manifest: doc, config: config}, nil
}
