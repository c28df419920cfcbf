// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/fetch"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// Values of --build-mode.
const (
	modeAppc = "appc"
	modeOCI  = "oci"
)

type beginOptions struct {
	fetch fetchFlags
	mode  string
}

func newBegin() command {
	var o beginOptions
	return command{
		name: "begin", args: "[START]", summary: "Begin a build, empty or from an image, a tar or a directory",
		max: 1, alone: true,
		flags: func(fs *flag.FlagSet) {
			o.fetch.bind(fs)
			fs.StringVar(&o.mode, "build-mode", modeAppc, "what to build: `appc|oci`")
		},
		run: func(ctx context.Context, c *call) error { return c.begin(ctx, o) },
	}
}

func (c *call) begin(ctx context.Context, o beginOptions) error {
	if o.mode != modeAppc && o.mode != modeOCI {
		return fmt.Errorf("invalid build mode: %s", o.mode)
	}
	if c.EUID != 0 {
		c.complain("begin: warning: not running as superuser: files of the image will belong to you, and devices are left out")
	}
	dir := filepath.Join(c.global.workPath, contextDir)
	err := os.Mkdir(dir, 0o755)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	b, err := lockBuild(dir)
	if err != nil {
		return err
	}
	begun, err := b.begun()
	if begun || err != nil {
		return errors.Join(err, errInProgress(begun), b.unlock())
	}
	if err := b.start(ctx, c, o); err != nil {
		return errors.Join(err, b.discard(), b.unlock())
	}
	return b.unlock()
}

func errInProgress(begun bool) error {
	if !begun {
		return nil
	}
	return errors.New("build already in progress in this working dir")
}

// start makes the image of a build. A draft takes its name when it is complete.
func (b *build) start(ctx context.Context, c *call, o beginOptions) error {
	if err := b.clear(); err != nil {
		return err
	}
	draft := b.path(imageDraft)
	rootfs := filepath.Join(draft, rootfsDir)
	for _, dir := range []string{draft, rootfs} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	start := ""
	if len(c.args) > 0 {
		start = c.args[0]
	}
	m, err := b.fill(ctx, c, o, start, rootfs)
	if err != nil {
		return err
	}
	if err := writeManifest(draft, m); err != nil {
		return err
	}
	if err := os.WriteFile(b.path(modeFile), []byte(o.mode), 0o644); err != nil {
		return err
	}
	return os.Rename(draft, b.path(imageDir))
}

// clear removes what a begin left that was killed.
func (b *build) clear() error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockFile {
			continue
		}
		if err := imagestore.RemoveTree(b.path(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// emptyManifest is that of an image that has nothing yet.
func emptyManifest() *manifest {
	os, arch := appc.HostLabels()
	return &manifest{
		ACKind: appc.ImageManifestKind, ACVersion: appc.ACVersion, Name: unnamed,
		Labels: appc.Labels{{Name: "arch", Value: arch}, {Name: "os", Value: os}},
	}
}

// fill puts what the build starts from into rootfs and returns its manifest.
func (b *build) fill(ctx context.Context, c *call, o beginOptions, start, rootfs string) (*manifest, error) {
	switch {
	case start == "":
		return emptyManifest(), nil
	case strings.HasPrefix(start, "."), strings.HasPrefix(start, "/"):
		return b.fillFromPath(ctx, c, o, start, rootfs)
	}
	image, local, err := imageString(start)
	if err != nil {
		return nil, err
	}
	if o.mode == modeOCI && !local {
		return nil, errors.New("cannot start from remote OCI images currently")
	}
	return b.fillFromImage(ctx, c, o, image, local, rootfs)
}

// imageString is what package fetch takes for a START; local images are on
// this machine's disk.
func imageString(start string) (image string, local bool, err error) {
	for _, scheme := range []string{"oci:", "oci-archive:", "docker-archive:"} {
		if strings.HasPrefix(start, scheme) {
			return start, true, nil
		}
	}
	if strings.Contains(start, "://") || strings.HasPrefix(start, "cimd:") {
		return start, false, nil
	}
	// Not left to fetch, for which the name of a file is a path.
	point, err := distribution.ParseAppc(start)
	if err != nil {
		return "", false, err
	}
	return point.CIMD(), false, nil
}

func (b *build) fillFromPath(ctx context.Context, c *call, o beginOptions, start, rootfs string) (*manifest, error) {
	info, err := os.Stat(start)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no such file or directory: %s", start)
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return emptyManifest(), c.copyContent(ctx, start, rootfs, b.dir)
	}
	hasManifest, hasRootfs, isLayout, err := topLevel(ctx, start)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", start, err)
	case isLayout && o.mode == modeOCI:
		return b.fillFromImage(ctx, c, o, "oci-archive:"+start, true, rootfs)
	case !hasManifest || !hasRootfs:
		missing := rootfsDir
		if !hasManifest {
			missing = manifestFile
		}
		c.complain("%s file is missing, assuming build is beginning with a tar of a rootfs", missing)
		return emptyManifest(), c.unpackTar(ctx, start, rootfs)
	}
	f, err := os.Open(start)
	if err != nil {
		return nil, err
	}
	m, err := c.unpackACI(ctx, f, rootfs)
	return m, errors.Join(err, f.Close())
}

// topLevel tells what an archive has at its top.
func topLevel(ctx context.Context, file string) (hasManifest, hasRootfs, isLayout bool, err error) {
	err = readTar(ctx, file, func(r io.Reader) error {
		limits := layer.DefaultLimits()
		tr := tar.NewReader(r)
		for n := int64(0); !hasManifest || !hasRootfs; n++ {
			hdr, err := tr.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if n > limits.Entries {
				return fmt.Errorf("more than %d entries", limits.Entries)
			}
			name := filepath.Clean(hdr.Name)
			hasManifest = hasManifest || name == manifestFile
			hasRootfs = hasRootfs || name == rootfsDir || strings.HasPrefix(name, rootfsDir+"/")
			isLayout = isLayout || name == "oci-layout"
		}
		return nil
	})
	return hasManifest, hasRootfs, isLayout, err
}

// readTar calls fn with the uncompressed content of a tar.
func readTar(ctx context.Context, file string, fn func(io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	plain, _, err := compression.NewReader(ctxReader{ctx, f})
	if err != nil {
		return err
	}
	return errors.Join(fn(plain), plain.Close())
}

// unpackTar unpacks the tar of a root file system.
func (c *call) unpackTar(ctx context.Context, file, rootfs string) error {
	open := func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() {
			w.CloseWithError(readTar(ctx, file, func(plain io.Reader) error {
				_, err := io.Copy(w, plain)
				return err
			}))
		}()
		return r, nil
	}
	_, err := layer.Flatten(ctx, rootfs, []func() (io.ReadCloser, error){open}, layer.UnpackOptions{
		Unprivileged: c.EUID != 0, Limits: layer.DefaultLimits(),
	})
	return err
}

// unpackACI unpacks an image, compressed or not.
func (c *call) unpackACI(ctx context.Context, r io.Reader, rootfs string) (*manifest, error) {
	var raw []byte
	if c.EUID == 0 {
		plain, _, err := aci.Open(ctxReader{ctx, r})
		if err != nil {
			return nil, err
		}
		res, err := layer.Unpack(ctx, plain, rootfs, layer.UnpackOptions{ACI: true, Limits: layer.DefaultLimits()})
		if err := errors.Join(err, plain.Close()); err != nil {
			return nil, err
		}
		raw = res.Manifest
	} else {
		res, err := aci.Extract(ctx, ctxReader{ctx, r}, rootfs, aci.ExtractOptions{MaxBytes: layer.DefaultLimits().Bytes})
		if err != nil {
			return nil, err
		}
		if res.Skipped > 0 {
			c.complain("%s: warning: left out %d device nodes, which only root can make", c.name(), res.Skipped)
		}
		raw = res.Manifest
	}
	m, err := appc.ParseImageManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("image manifest: %w", err)
	}
	return m, nil
}

// fillFromImage fetches an image into a store that lasts until it is unpacked.
func (b *build) fillFromImage(ctx context.Context, c *call, o beginOptions, image string, local bool, rootfs string) (m *manifest, err error) {
	dir := b.path(depstoreDir)
	s, err := c.openStores(ctx, dir, o.fetch)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, s.close())
		if o.fetch.store == "" {
			err = errors.Join(err, imagestore.RemoveTree(dir))
		}
	}()
	c.debugf("fetching %s", image)
	id, err := s.fetcher.Fetch(ctx, image, fetch.ImageOptions{NoDeps: true, Trusted: local})
	if err != nil {
		return nil, explainFetch(err)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.images.WriteACI(ctx, id, w)) }()
	m, err = c.unpackACI(ctx, r, rootfs)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if o.mode == modeOCI {
		err = b.keepLayers(ctx, s.images, id, rootfs)
	}
	return m, err
}

// ctxReader ends with the error of its context.
type ctxReader struct {
	ctx context.Context // an io.Reader has no other way to see it
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
