// SPDX-License-Identifier: Apache-2.0

package ociarchive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// Bytes is a small blob in memory.
func Bytes(mediaType string, data []byte) Blob {
	sum := sha256.Sum256(data)
	return Blob{
		MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

// FromACI makes an image of an ACI with one layer, which is written to the file
// layer and read from there. archive is the uncompressed ACI.
func FromACI(m *appc.ImageManifest, archive io.Reader, layer *os.File) (*Image, error) {
	if len(m.Dependencies) > 0 || len(m.PathWhitelist) > 0 {
		err := errors.New("image has dependencies or a path whitelist, which an OCI image cannot have")
		return nil, hint.With(err, "render the image and build one of the result with actool build")
	}
	blob, diffID, err := writeLayer(archive, layer)
	if err != nil {
		return nil, err
	}
	config, platform, err := ociconv.FromAppc(m, diffID)
	if err != nil {
		return nil, err
	}
	i := &Image{Config: Bytes(ociconv.OCIConfig, config), Layers: []Blob{blob}, Platform: platform}
	data, err := ociconv.NewOCIManifest(
		ociconv.Descriptor{MediaType: i.Config.MediaType, Digest: i.Config.Digest, Size: i.Config.Size},
		ociconv.Descriptor{MediaType: blob.MediaType, Digest: blob.Digest, Size: blob.Size})
	i.Manifest = Bytes(ociconv.OCIManifest, data)
	return i, err
}

// counter hashes and counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// writeLayer compresses the files of an ACI into a layer.
func writeLayer(archive io.Reader, to *os.File) (Blob, string, error) {
	compressed, plain, size := sha256.New(), sha256.New(), &counter{}
	z := gzip.NewWriter(io.MultiWriter(to, compressed, size))
	out := tar.NewWriter(io.MultiWriter(z, plain))
	if err := copyRootfs(tar.NewReader(archive), out); err != nil {
		return Blob{}, "", err
	}
	if err := errors.Join(out.Close(), z.Close()); err != nil {
		return Blob{}, "", err
	}
	// What follows the end of the tar belongs to the image's ID.
	if _, err := io.Copy(io.Discard, archive); err != nil {
		return Blob{}, "", err
	}
	b := Blob{
		MediaType: ociconv.OCILayerGzip, Digest: "sha256:" + hex.EncodeToString(compressed.Sum(nil)), Size: size.n,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(to, 0, size.n)), nil },
	}
	return b, "sha256:" + hex.EncodeToString(plain.Sum(nil)), nil
}

// copyRootfs takes what is below rootfs.
func copyRootfs(in *tar.Reader, out *tar.Writer) error {
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, ok := belowRootfs(h.Name)
		if !ok {
			continue
		}
		if strings.Contains("/"+name, "/.wh.") {
			return fmt.Errorf("%q: a name that begins with .wh. means something else in an OCI image", name)
		}
		if h.Name = name; h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if h.Typeflag == tar.TypeLink {
			if h.Linkname, ok = belowRootfs(h.Linkname); !ok {
				return fmt.Errorf("%q is a link to what is not below rootfs", name)
			}
		}
		h.Format = tar.FormatPAX
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if _, err := io.Copy(out, in); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
}

// belowRootfs is the path in the image; false for the manifest and rootfs itself.
func belowRootfs(name string) (string, bool) {
	name, ok := strings.CutPrefix(strings.TrimPrefix(path.Clean("/"+name), "/"), "rootfs/")
	return name, ok && name != ""
}
