// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// File is a tar entry: a directory if the name ends with "/", a symbolic link
// if it has a target, a hard link if that starts with "=", otherwise a regular
// file.
type File struct {
	Name    string
	Content string
	Target  string
	Mode    int64
}

// Tar packs files.
func Tar(t testing.TB, files ...File) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: f.Mode, ModTime: time.Unix(1_600_000_000, 0), Format: tar.FormatPAX}
		switch {
		case strings.HasSuffix(f.Name, "/"):
			h.Typeflag = tar.TypeDir
		case strings.HasPrefix(f.Target, "="):
			h.Typeflag, h.Linkname = tar.TypeLink, f.Target[1:]
		case f.Target != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Target
		default:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(f.Content))
		}
		if h.Mode == 0 {
			h.Mode = map[bool]int64{true: 0o755, false: 0o644}[h.Typeflag == tar.TypeDir]
		}
		must(t, tw.WriteHeader(h))
		_, err := io.WriteString(tw, f.Content)
		must(t, err)
	}
	must(t, tw.Close())
	return buf.Bytes()
}

// Gzip compresses data.
func Gzip(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(data)
	must(t, err)
	must(t, w.Close())
	return buf.Bytes()
}

// Manifest is a valid image manifest; labels are pairs of name and value.
func Manifest(name string, labels ...string) *appc.ImageManifest {
	m := &appc.ImageManifest{ACKind: "ImageManifest", ACVersion: appc.ACVersion, Name: appc.Identifier(name)}
	for i := 0; i < len(labels); i += 2 {
		m.Labels = append(m.Labels, appc.Label{Name: appc.Identifier(labels[i]), Value: labels[i+1]})
	}
	return m
}

// ACI packs an image; names of files are relative to its root directory.
func ACI(t testing.TB, m *appc.ImageManifest, files ...File) []byte {
	t.Helper()
	data, err := m.Marshal()
	must(t, err)
	all := []File{{Name: "manifest", Content: string(data)}, {Name: "rootfs/"}}
	for _, f := range files {
		f.Name = "rootfs/" + f.Name
		if strings.HasPrefix(f.Target, "=") {
			f.Target = "=rootfs/" + f.Target[1:]
		}
		all = append(all, f)
	}
	return Tar(t, all...)
}

// ID is the image ID of an uncompressed archive.
func ID(archive []byte) appc.ImageID {
	sum := sha512.Sum512(archive)
	return appc.ImageIDFromSum(sum[:])
}

// Image is an OCI image with its layers.
type Image struct {
	imagestore.OCIImage
	Blobs map[string][]byte // layers by digest
}

// Digest is the SHA-256 digest of data.
func Digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// OCI makes an image of uncompressed layers, base first, which it compresses.
func OCI(t testing.TB, name string, layers ...[]byte) *Image {
	t.Helper()
	img := &Image{Blobs: map[string][]byte{}}
	img.Manifest = Manifest(name, "version", "1")
	var diffIDs []string
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int64  `json:"size"`
	}
	var descriptors []descriptor
	for _, l := range layers {
		blob := Gzip(t, l)
		d := layer.Descriptor{
			Digest: Digest(blob), DiffID: Digest(l), Size: int64(len(blob)),
			MediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
		}
		img.Blobs[d.Digest] = blob
		img.Layers = append(img.Layers, d)
		diffIDs = append(diffIDs, d.DiffID)
		descriptors = append(descriptors, descriptor{d.MediaType, d.Digest, d.Size})
	}
	var err error
	img.RawConfig, err = json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	must(t, err)
	img.RawManifest, err = json.Marshal(map[string]any{
		"schemaVersion": 2,
		"config": descriptor{
			"application/vnd.oci.image.config.v1+json", Digest(img.RawConfig), int64(len(img.RawConfig)),
		},
		"layers": descriptors,
	})
	must(t, err)
	img.ManifestDigest = Digest(img.RawManifest)
	return img
}

// Open is an open function for one of the image's layers.
func (img *Image) Open(digest string) func(context.Context, int64) (io.ReadCloser, error) {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(img.Blobs[digest][offset:])), nil
	}
}

// Import puts all layers of an image and commits it.
func Import(ctx context.Context, s Store, img *Image) (appc.ImageID, error) {
	im, err := s.BeginOCI(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = im.Close() }()
	for _, d := range img.Layers {
		if err := im.PutLayer(ctx, d, img.Open(d.Digest)); err != nil {
			return "", err
		}
	}
	return im.Commit(ctx, img.OCIImage)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
