// SPDX-License-Identifier: Apache-2.0

package ociarchive

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// Blob is a part of an image.
type Blob struct {
	MediaType string
	Digest    string
	Size      int64
	// Open reads the blob from its beginning. Its end is an error unless the
	// digest is right.
	Open func() (io.ReadCloser, error)
}

// Image is an image as registries have it.
type Image struct {
	Manifest Blob
	Config   Blob
	Layers   []Blob // base first
	// Reference is NAME:TAG, empty for an image without tag.
	Reference string
	// Platform may be the zero value.
	Platform ociconv.Platform
}

// blobs are all of them, each once, the manifest last.
func (i *Image) blobs() []Blob {
	var list []Blob
	seen := map[string]bool{}
	for _, b := range append([]Blob{i.Config}, append(i.Layers[:len(i.Layers):len(i.Layers)], i.Manifest)...) {
		if !seen[b.Digest] {
			seen[b.Digest] = true
			list = append(list, b)
		}
	}
	return list
}

// Format is the form of an archive.
type Format string

// The forms.
const (
	OCI    Format = "oci-archive"
	Docker Format = "docker-archive"
)

// layoutText is the file oci-layout.
const layoutText = `{"imageLayoutVersion":"1.0.0"}`

// Write writes an archive. What was written is worth nothing if it fails.
func Write(w io.Writer, i *Image, f Format) error {
	a := &archive{w: tar.NewWriter(w), dirs: map[string]bool{}}
	index, err := i.index(f)
	if err != nil {
		return err
	}
	if err := a.file("oci-layout", []byte(layoutText)); err != nil {
		return err
	}
	if err := a.file("index.json", index); err != nil {
		return err
	}
	if f == Docker {
		list, err := i.saved()
		if err != nil {
			return err
		}
		if err := a.file("manifest.json", list); err != nil {
			return err
		}
	}
	for _, b := range i.blobs() {
		if err := a.blob(b); err != nil {
			return fmt.Errorf("blob %s: %w", b.Digest, err)
		}
	}
	return a.w.Close()
}

func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// index is index.json.
func (i *Image) index(f Format) ([]byte, error) {
	d := descriptor{MediaType: i.Manifest.MediaType, Digest: i.Manifest.Digest, Size: i.Manifest.Size}
	if i.Reference != "" {
		d.Annotations = map[string]string{"org.opencontainers.image.ref.name": i.Reference}
		if f == Docker {
			d.Annotations["io.containerd.image.name"] = i.Reference
		}
	}
	if p := i.Platform; p.OS != "" && p.Architecture != "" {
		d.Platform = &platform{Architecture: p.Architecture, OS: p.OS, Variant: p.Variant}
	}
	return json.Marshal(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, ociconv.OCIIndex, []descriptor{d}})
}

// saved is manifest.json.
func (i *Image) saved() ([]byte, error) {
	image := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blobPath(i.Config.Digest)}
	if i.Reference != "" {
		image.RepoTags = []string{i.Reference}
	}
	for _, l := range i.Layers {
		image.Layers = append(image.Layers, blobPath(l.Digest))
	}
	return json.Marshal([]any{image})
}

// archive is a tar under construction.
type archive struct {
	w    *tar.Writer
	dirs map[string]bool
}

func (a *archive) header(name string, kind byte, mode, size int64) error {
	return a.w.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Mode: mode, Size: size, ModTime: time.Unix(0, 0)})
}

func (a *archive) file(name string, data []byte) error {
	if err := a.header(name, tar.TypeReg, 0o644, int64(len(data))); err != nil {
		return err
	}
	_, err := a.w.Write(data)
	return err
}

func (a *archive) blob(b Blob) error {
	path := blobPath(b.Digest)
	for _, dir := range []string{"blobs/", path[:strings.LastIndexByte(path, '/')+1]} {
		if a.dirs[dir] {
			continue
		}
		a.dirs[dir] = true
		if err := a.header(dir, tar.TypeDir, 0o755, 0); err != nil {
			return err
		}
	}
	in, err := b.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if err := a.header(path, tar.TypeReg, 0o644, b.Size); err != nil {
		return err
	}
	n, err := io.Copy(a.w, in)
	if err == nil && n != b.Size {
		err = fmt.Errorf("%d bytes expected but %d found", b.Size, n)
	}
	return err
}
