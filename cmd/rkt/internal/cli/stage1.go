// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/fetch"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// The stage1 that is used when nobody says otherwise.
const (
	defaultStage1Name = "coreos.com/rkt/stage1-fly"
	defaultStage1File = "stage1-fly.aci"
)

// stage1Finder finds the stage1 image of a new pod. Every image it answers is
// in the store.
type stage1Finder struct {
	d      *Deps
	store  *imagestore.Store
	fetch  *fetch.Fetcher
	config *config.Config
}

// findStage1 resolves the choice of the command line; without one it looks in
// the configuration, next to the binary, in the installed images and in the
// binary itself.
func (d *Deps) findStage1(ctx context.Context, f *fetch.Fetcher, c stage1Choice) (appc.ImageID, error) {
	cfg, err := d.Config()
	if err != nil {
		return "", err
	}
	store, err := d.Images(ctx)
	if err != nil {
		return "", err
	}
	own := *f
	own.Platform = ociconv.Platform{} // stage1 runs on the host, whatever the apps are for
	s := &stage1Finder{d: d, store: store, fetch: &own, config: cfg}
	if c.flag == "" {
		return s.unnamed(ctx)
	}
	id, err := s.chosen(ctx, c)
	if err != nil {
		return "", fmt.Errorf("failed to fetch stage1 image: %w", err)
	}
	return id, nil
}

func (s *stage1Finder) chosen(ctx context.Context, c stage1Choice) (appc.ImageID, error) {
	switch c.flag {
	case stage1Hash:
		if !distribution.IsHash(c.value) {
			return s.store.Resolve(c.value) //nolint:contextcheck // a look-up is short
		}
		return s.get(ctx, c.value, false)
	case stage1Name:
		if _, err := distribution.ParseAppc(c.value); err != nil {
			return "", err
		}
		return s.get(ctx, c.value, false)
	case stage1FromDir:
		return s.file(ctx, filepath.Join(s.imagesDir(), c.value))
	case stage1Path:
		return s.file(ctx, c.value)
	}
	u, err := url.Parse(c.value)
	if err != nil {
		return "", fmt.Errorf("invalid URL of a stage1 image: %w", err)
	}
	if u.Scheme == "file" {
		return s.file(ctx, u.Path)
	}
	return s.get(ctx, c.value, false)
}

// get fetches a stage1 image: from the store if it is there, and without
// dependencies.
func (s *stage1Finder) get(ctx context.Context, image string, trusted bool) (appc.ImageID, error) {
	return s.fetch.Fetch(ctx, image, fetch.ImageOptions{Policy: fetch.New, NoDeps: true, Trusted: trusted})
}

// file reads an archive anew, whatever is known of it. Those that were
// installed with rkt need no signature.
func (s *stage1Finder) file(ctx context.Context, path string) (appc.ImageID, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return s.get(ctx, abs, s.isInstalled(abs))
}

func (s *stage1Finder) isInstalled(path string) bool {
	rel, err := filepath.Rel(s.d.Stage1Images, path)
	return err == nil && filepath.IsLocal(rel)
}

func (s *stage1Finder) imagesDir() string {
	if dir := s.config.Paths.Stage1Images; dir != "" {
		return dir
	}
	return s.d.Stage1Images
}

// unnamed is for command lines without stage1 flag.
func (s *stage1Finder) unnamed(ctx context.Context) (appc.ImageID, error) {
	id, found, err := s.stored(ctx)
	if err != nil || found {
		return id, err
	}
	location := s.config.Stage1.Location
	if location == "" {
		return s.builtIn(ctx)
	}
	if !filepath.IsAbs(location) {
		id, err = s.chosen(ctx, stage1Choice{stage1URL, location})
		if err != nil {
			return "", fmt.Errorf("failed to fetch stage1 image: %w", err)
		}
		return id, nil
	}
	id, err = s.file(ctx, location)
	if err == nil {
		return id, nil
	}
	id, besideErr := s.beside(ctx, filepath.Base(location))
	if besideErr != nil {
		return "", fmt.Errorf("failed to fetch stage1 image and failed to fall back to stage1 image in the rkt directory: %w",
			errors.Join(err, besideErr))
	}
	return id, nil
}

// stored looks for the configured or built-in name and version in the store.
// Development versions name no definite image, so they are not looked for.
func (s *stage1Finder) stored(ctx context.Context) (appc.ImageID, bool, error) {
	name, ver := s.config.Stage1.Name, s.config.Stage1.Version
	if name == "" {
		name, ver = defaultStage1Name, version
	}
	if strings.HasSuffix(ver, "-dirty") || strings.HasSuffix(ver, "-dev") {
		return "", false, nil
	}
	if s.config.Stage1.Name == "" && s.d.Embedded.ID() != "" {
		// The image of that name is the one in the binary: asking for its ID
		// spares the index.
		if s.has(appc.ImageID(s.d.Embedded.ID())) {
			return appc.ImageID(s.d.Embedded.ID()).Key(), true, nil
		}
	}
	point, err := distribution.ParseAppc(name + ":" + ver)
	if err != nil {
		return "", false, fmt.Errorf("name of the default stage1 image: %w", err)
	}
	id, err := s.store.Find(point.Name, point.Labels) //nolint:contextcheck // a look-up is short
	if errors.Is(err, imagestore.ErrNotFound) {
		return "", false, nil
	}
	if err == nil {
		s.d.Logger("image").DebugContext(ctx, fmt.Sprintf("using image from local store for image name %s:%s", name, ver))
	}
	return id, err == nil, err
}

func (s *stage1Finder) has(id appc.ImageID) bool {
	_, err := s.store.Record(id.Key())
	return err == nil
}

// builtIn takes the first there is: the file next to the binary, the installed
// one, the image in the binary.
func (s *stage1Finder) builtIn(ctx context.Context) (appc.ImageID, error) {
	id, err := s.beside(ctx, defaultStage1File)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	id, err = s.remembered(ctx, filepath.Join(s.d.Stage1Images, defaultStage1File))
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	want := appc.ImageID(s.d.Embedded.ID())
	if want == "" {
		return "", errors.New("neither the location of the default stage1 image nor its filename are set, " +
			"use --stage1-{path,url,name,hash,from-dir} flag")
	}
	if s.has(want) {
		return want.Key(), nil
	}
	id, err = s.store.ImportACI(ctx, s.d.Embedded.Open(), imagestore.ImportOptions{WantID: want})
	if err != nil {
		return "", fmt.Errorf("cannot import the stage1 image of this binary: %w", err)
	}
	return id.Key(), nil
}

// beside looks in the directory of the running binary.
func (s *stage1Finder) beside(ctx context.Context, file string) (appc.ImageID, error) {
	exe, err := s.d.Executable()
	if err != nil {
		return "", fmt.Errorf("directory of rkt: %w", err)
	}
	return s.remembered(ctx, filepath.Join(filepath.Dir(exe), file))
}

// remembered imports a file that came with rkt, unless the store remembers
// just this file: same path, size, times and inode.
func (s *stage1Finder) remembered(ctx context.Context, path string) (appc.ImageID, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	s.d.Logger("image").DebugContext(ctx, "using image from file "+path)
	location := (&url.URL{Scheme: "file", Path: path}).String()
	signature := statSignature(st)
	known, ok, err := s.store.Remote(location) //nolint:contextcheck // a look-up is short
	if err != nil {
		return "", err
	}
	if ok && known.ETag == signature {
		return known.Key, nil
	}
	id, err := s.store.ImportACI(ctx, f, imagestore.ImportOptions{
		Remote: &imagestore.Remote{URL: location, ETag: signature, Downloaded: s.d.Now()},
	})
	if err != nil {
		return "", fmt.Errorf("cannot import stage1 image %q: %w", path, err)
	}
	return id.Key(), nil
}

// statSignature changes whenever the content of a file may have changed: ctime
// cannot be set back.
func statSignature(st fs.FileInfo) string {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("stat-%d-%d-%d-%d-%d", sys.Dev, sys.Ino, sys.Size, sys.Mtim.Nano(), sys.Ctim.Nano())
}
