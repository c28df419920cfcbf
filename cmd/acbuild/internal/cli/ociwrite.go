// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/cmd/internal/outfile"
	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/ociarchive"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// writeOCI writes the image in the form of OCI or docker and returns the digest
// of its manifest.
func (c *call) writeOCI(ctx context.Context, b *build, m *manifest, target string, o writeOptions, build aci.BuildOptions) (string, error) {
	image, err := convertToOCI(m, build.ModTime)
	if err != nil {
		return "", err
	}
	for _, what := range image.dropped {
		c.complain("write: warning: OCI images have no place for %s", what)
	}
	if err := checkOCITarget(target, o); err != nil {
		return "", err
	}
	staging := b.path(stagingDir)
	if err := os.Mkdir(staging, 0o700); err != nil {
		return "", err
	}
	archive, err := b.ociArchive(ctx, image, staging, o.compression, build)
	if err == nil {
		archive.Reference = reference(m, image.refName, o.format)
		err = b.placeOCI(archive, target, o)
	}
	if err := errors.Join(err, imagestore.RemoveTree(staging)); err != nil {
		return "", err
	}
	return archive.Manifest.Digest, nil
}

// reference is the name of an image in an archive: the tag alone in a layout,
// NAME:TAG where docker shall load it.
func reference(m *manifest, tag, format string) string {
	switch {
	case format != formatDockerArchive || strings.Contains(tag, ":"):
		return tag
	case m.Name == unnamed:
		return ""
	}
	return m.Name.String() + ":" + tag
}

// checkOCITarget refuses to replace a directory that is no layout.
func checkOCITarget(target string, o writeOptions) error {
	if err := outfile.Check(target, o.overwrite); err != nil {
		return err
	}
	info, err := os.Lstat(target)
	if err != nil || !info.IsDir() {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(target, "oci-layout")); err != nil || o.format != formatOCILayout {
		return fmt.Errorf("%s is a directory and not an OCI layout", target)
	}
	return nil
}

func (b *build) placeOCI(image *ociarchive.Image, target string, o writeOptions) error {
	if o.format != formatOCILayout {
		out, err := b.createOutput(target, o.overwrite)
		if err != nil {
			return err
		}
		format := ociarchive.OCI
		if o.format == formatDockerArchive {
			format = ociarchive.Docker
		}
		return errors.Join(out.Finish(ociarchive.Write(out, image, format)), b.forgetOutput())
	}
	temp, err := b.noteOutput(target)
	if err != nil {
		return err
	}
	err = os.Mkdir(temp, 0o755)
	if err == nil {
		err = ociarchive.WriteLayout(temp, image)
	}
	if err == nil && o.overwrite {
		err = imagestore.RemoveTree(target)
	}
	if err == nil {
		err = outfile.Rename(temp, target, false)
	}
	return errors.Join(err, imagestore.RemoveTree(temp), b.forgetOutput())
}

// ociArchive makes the blobs of the image in the directory dir.
func (b *build) ociArchive(ctx context.Context, image *ociImage, dir string, spec compression.Spec, o aci.BuildOptions) (*ociarchive.Image, error) {
	l, err := b.layers()
	if err != nil {
		return nil, err
	}
	a := &ociarchive.Image{Platform: ociconv.Platform{
		OS: image.config.OS, Architecture: image.config.Architecture, Variant: image.config.Variant,
	}}
	image.config.RootFS.Type = "layers"
	add := func(blob ociarchive.Blob, diffID string) {
		a.Layers = append(a.Layers, blob)
		image.config.RootFS.DiffIDs = append(image.config.RootFS.DiffIDs, diffID)
	}
	for i, lower := range l.List {
		path := b.path(layersDir, lower.File)
		if lower.Blob != nil {
			add(fileBlob(path, *lower.Blob), lower.DiffID)
			continue
		}
		blob, diffID, err := packLayer(dir, i, spec, func(w io.Writer) error { return copyLayer(ctx, w, path, o) })
		if err != nil {
			return nil, err
		}
		add(blob, diffID)
	}
	write, err := b.topWriter(ctx, l, o)
	if err != nil {
		return nil, err
	}
	if write != nil {
		blob, diffID, err := packLayer(dir, len(l.List), spec, write)
		if err != nil {
			return nil, err
		}
		add(blob, diffID)
	}
	return a, image.documents(a)
}

// topWriter writes the tar of the top layer. It is nil if that has nothing.
func (b *build) topWriter(ctx context.Context, l layers, o aci.BuildOptions) (func(io.Writer) error, error) {
	if len(l.List) == 0 { // everything, with no need to read it twice
		return func(w io.Writer) error { return layerTar(ctx, b.path(imageDir), w, o) }, nil
	}
	top, err := b.topLayer(ctx, l, o)
	if err != nil || top.plan.Empty() {
		return nil, err
	}
	return func(w io.Writer) error { return top.write(ctx, b, w, o) }, nil
}

// documents adds config and manifest.
func (i *ociImage) documents(a *ociarchive.Image) error {
	config, err := json.Marshal(i.config)
	if err != nil {
		return err
	}
	a.Config = ociarchive.Bytes(ociConfigType, config)
	m := ociManifest{SchemaVersion: 2, MediaType: ociconv.OCIManifest, Config: describe(a.Config), Annotations: i.annotations}
	for _, l := range a.Layers {
		m.Layers = append(m.Layers, describe(l))
	}
	data, err := json.Marshal(m)
	a.Manifest = ociarchive.Bytes(ociconv.OCIManifest, data)
	return err
}

func describe(b ociarchive.Blob) ociDescriptor {
	return ociDescriptor{MediaType: b.MediaType, Digest: b.Digest, Size: b.Size}
}

func digestOf(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

// packLayer writes a compressed layer to a file of dir and returns it with the
// digest of its tar.
func packLayer(dir string, number int, spec compression.Spec, write func(io.Writer) error) (b ociarchive.Blob, diffID string, err error) {
	path := filepath.Join(dir, fmt.Sprintf("blob-%d", number))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return b, "", err
	}
	plain, packed := sha256.New(), sha256.New()
	err = spec.Compress(io.MultiWriter(f, packed), func(w io.Writer) error { return write(io.MultiWriter(w, plain)) })
	size, serr := f.Seek(0, io.SeekCurrent)
	if err := errors.Join(err, serr, f.Close()); err != nil {
		return b, "", err
	}
	d := ociDescriptor{MediaType: layerType(spec.Type), Digest: digestOf(packed.Sum(nil)), Size: size}
	return fileBlob(path, d), digestOf(plain.Sum(nil)), nil
}

// layerType is the media type of a layer.
func layerType(kind compression.Type) string {
	if kind == compression.None {
		return ociLayerType
	}
	return ociLayerType + "+" + string(kind)
}

func fileBlob(path string, d ociDescriptor) ociarchive.Blob {
	return ociarchive.Blob{
		MediaType: d.MediaType, Digest: d.Digest, Size: d.Size,
		Open: func() (io.ReadCloser, error) { return os.Open(path) },
	}
}

// copyLayer copies the tar of a layer with the times that o wants.
func copyLayer(ctx context.Context, w io.Writer, path string, o aci.BuildOptions) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	tr, tw := tar.NewReader(ctxReader{ctx, f}), tar.NewWriter(w)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return tw.Close()
		}
		if err != nil {
			return err
		}
		clamp(hdr, o)
		if err := tw.WriteHeader(hdr); err != nil {
			return err
		}
		if _, err := io.Copy(tw, tr); err != nil {
			return err
		}
	}
}

func clamp(hdr *tar.Header, o aci.BuildOptions) {
	hdr.AccessTime, hdr.ChangeTime, hdr.Format = time.Time{}, time.Time{}, tar.FormatPAX
	if o.ClampTimes && hdr.ModTime.After(o.ModTime) {
		hdr.ModTime = o.ModTime
	}
	delete(hdr.PAXRecords, "mtime") // the field says it
}

var errNotOCIBuild = errors.New("--file is only supported in OCI builds")

// catOCI prints a document of the image as write would write it.
func (c *call) catOCI(ctx context.Context, b *build, file string, pretty bool) error {
	oci, err := b.oci()
	switch {
	case err != nil:
		return err
	case !oci:
		return errNotOCIBuild
	case file != "manifest" && file != "config":
		return fmt.Errorf("--file=%s: must be manifest or config", file)
	}
	m, err := b.manifest()
	if err != nil {
		return err
	}
	build, err := c.buildOptions(b)
	if err != nil {
		return err
	}
	image, err := convertToOCI(m, build.ModTime)
	if err != nil {
		return err
	}
	staging := b.path(stagingDir)
	if err := os.Mkdir(staging, 0o700); err != nil {
		return err
	}
	archive, err := b.ociArchive(ctx, image, staging, compression.Spec{Type: compression.Gzip}, build)
	if err := errors.Join(err, imagestore.RemoveTree(staging)); err != nil {
		return err
	}
	blob := archive.Manifest
	if file == "config" {
		blob = archive.Config
	}
	in, err := blob.Open()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(in)
	if err := errors.Join(err, in.Close()); err != nil {
		return err
	}
	return c.printJSON(text, pretty)
}
