// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/cmd/acbuild/internal/layerdiff"
	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// Names below the context directory. The list is what makes the other files
// count: it is replaced as a whole.
const (
	layersDir  = "ociblobs"
	layersList = "layers.json"
)

// layers are those below the top layer of an OCI build, base first. The top
// layer is what is different in the root file system.
type layers struct {
	List []lowerLayer `json:"layers"`
	// Snapshot is the file with the state of the root file system that the list makes.
	Snapshot string `json:"snapshot"`
}

// lowerLayer is a layer that no command changes any more.
type lowerLayer struct {
	File string `json:"file"`
	// Blob is what File has, for a layer of the image that the build began with.
	// Others are plain tars.
	Blob *ociDescriptor `json:"blob,omitempty"`
	// DiffID is the digest of the tar of Blob.
	DiffID string `json:"diffID,omitempty"`
}

// layers are those below the top layer. Without any there are none.
func (b *build) layers() (layers, error) { return readLayers(b.path(layersDir)) }

func readLayers(dir string) (l layers, err error) {
	data, err := os.ReadFile(filepath.Join(dir, layersList))
	if errors.Is(err, fs.ErrNotExist) {
		return layers{}, nil
	}
	if err != nil {
		return layers{}, err
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return layers{}, fmt.Errorf("layers of the build: %w", err)
	}
	for _, name := range l.files() {
		if !filepath.IsLocal(name) || filepath.Base(name) != name {
			return layers{}, fmt.Errorf("layers of the build: %q is no name of a file", name)
		}
	}
	return l, nil
}

func (l layers) files() []string {
	names := []string{l.Snapshot}
	for _, lower := range l.List {
		names = append(names, lower.File)
	}
	return names
}

// below is the state of the root file system that the layers make.
func (b *build) below(l layers) (_ layerdiff.Snapshot, err error) {
	if l.Snapshot == "" {
		return nil, nil
	}
	f, err := os.Open(b.path(layersDir, l.Snapshot))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return layerdiff.Read(f)
}

// commit makes a list of layers that of the directory dir, with snapshot as what
// they make.
func (l layers) commit(dir string, snapshot layerdiff.Snapshot) error {
	l.Snapshot = fmt.Sprintf("snapshot-%d", len(l.List))
	f, err := os.Create(filepath.Join(dir, l.Snapshot)) // no name that the list has: those have other numbers
	if err != nil {
		return err
	}
	if err := errors.Join(snapshot.Write(f), f.Close()); err != nil {
		return err
	}
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return atomicfile.WriteNoSync(filepath.Join(dir, layersList), data, 0o600)
}

// removeUnlisted removes what a layer or begin left that was killed.
func (b *build) removeUnlisted() error {
	entries, err := os.ReadDir(b.path(layersDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := b.layers()
	if err != nil {
		return err
	}
	keep := map[string]bool{layersList: true}
	for _, name := range l.files() {
		keep[name] = true
	}
	for _, e := range entries {
		if !keep[e.Name()] {
			err = errors.Join(err, imagestore.RemoveTree(b.path(layersDir, e.Name())))
		}
	}
	return err
}

// topLayer is what is different from the layers below.
type topLayer struct {
	plan layerdiff.Plan
	now  layerdiff.Snapshot
}

func (b *build) topLayer(ctx context.Context, l layers, o aci.BuildOptions) (*topLayer, error) {
	was, err := b.below(l)
	if err != nil {
		return nil, err
	}
	// Differences are those of the tree, whatever SOURCE_DATE_EPOCH says today.
	o.ClampTimes = false
	t := &topLayer{}
	err = readTree(ctx, b.path(imageDir), o, func(r io.Reader) (err error) {
		t.now, err = layerdiff.Take(r)
		return err
	})
	t.plan = layerdiff.Compare(was, t.now)
	return t, err
}

// write writes the tar of the layer.
func (t *topLayer) write(ctx context.Context, b *build, w io.Writer, o aci.BuildOptions) error {
	return readTree(ctx, b.path(imageDir), o, func(r io.Reader) error { return t.plan.Write(w, r) })
}

// readTree calls fn with the tar of the root file system of the layout dir as a
// layer has it.
func readTree(ctx context.Context, dir string, o aci.BuildOptions, fn func(io.Reader) error) error {
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(layerTar(ctx, dir, pw, o))
	}()
	err := fn(pr)
	if err == nil { // what comes after the end of the tar
		_, err = io.Copy(io.Discard, pr)
	}
	err = errors.Join(err, pr.Close())
	<-done
	return err
}

func newLayer() command {
	return command{
		name: "layer", summary: "Start a new top layer of an OCI build", modifies: true,
		run: func(ctx context.Context, c *call) error {
			return c.withBuild(func(b *build) error { return c.seal(ctx, b) })
		},
	}
}

// seal makes a layer of what was changed since the last one. If that is
// nothing there is none.
func (c *call) seal(ctx context.Context, b *build) error {
	oci, err := b.oci()
	if err != nil {
		return err
	}
	if !oci {
		return errors.New("layer is only supported in OCI builds: an ACI has no layers")
	}
	l, err := b.layers()
	if err != nil {
		return err
	}
	o, err := c.buildOptions(b)
	if err != nil {
		return err
	}
	o.ClampTimes = false // write does that
	top, err := b.topLayer(ctx, l, o)
	if err != nil {
		return err
	}
	if !top.plan.Empty() {
		if err := b.addLayer(ctx, l, top, o); err != nil {
			return err
		}
	}
	m, err := b.manifest()
	if err != nil {
		return err
	}
	if err := c.record(m); err != nil {
		return err
	}
	return b.setManifest(m)
}

func (b *build) addLayer(ctx context.Context, l layers, top *topLayer, o aci.BuildOptions) error {
	dir := b.path(layersDir)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	name := fmt.Sprintf("layer-%d.tar", len(l.List))
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if err := errors.Join(top.write(ctx, b, f, o), f.Close()); err != nil {
		return err
	}
	l.List = append(l.List, lowerLayer{File: name})
	return l.commit(dir, top.now)
}

// layerTar writes the tar of a layer: the archive of the image without its
// manifest and with rootfs as its top.
func layerTar(ctx context.Context, dir string, w io.Writer, o aci.BuildOptions) error {
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(aci.BuildLayout(ctx, pw, dir, emptyManifest(), o)) }()
	tr, tw := tar.NewReader(pr), tar.NewWriter(w)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = copyLayerEntry(tw, hdr, tr)
		}
		if err != nil {
			return errors.Join(err, pr.Close())
		}
	}
	return errors.Join(tw.Close(), pr.Close())
}

func copyLayerEntry(tw *tar.Writer, hdr *tar.Header, data io.Reader) error {
	name, ok := strings.CutPrefix(strings.TrimSuffix(hdr.Name, "/"), aci.RootFSName)
	if !ok {
		return nil // the manifest
	}
	if name = strings.TrimPrefix(name, "/"); name == "" {
		name = "."
	}
	if hdr.Typeflag == tar.TypeDir {
		name += "/"
	}
	hdr.Name = name
	if hdr.Typeflag == tar.TypeLink {
		hdr.Linkname = strings.TrimPrefix(hdr.Linkname, aci.RootFSName+"/")
	}
	if base := filepath.Base(hdr.Name); strings.HasPrefix(base, ".wh.") {
		return fmt.Errorf("file %q: an OCI layer cannot have a file of this name", "/"+hdr.Name)
	}
	for key := range hdr.PAXRecords { // the reader has undone it
		if strings.HasPrefix(key, "GNU.sparse.") {
			delete(hdr.PAXRecords, key)
		}
	}
	if hdr.Typeflag == tar.TypeGNUSparse {
		hdr.Typeflag = tar.TypeReg
	}
	hdr.Format = tar.FormatPAX
	if err := tw.WriteHeader(hdr); err != nil {
		return err
	}
	_, err := io.Copy(tw, data)
	return err
}
