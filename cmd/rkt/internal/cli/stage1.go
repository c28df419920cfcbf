// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/embedded"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/fetch"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// defaultStage1Name is the stage1 that is used when nobody says otherwise.
const defaultStage1Name = "coreos.com/rkt/stage1-coreos"

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
// binary itself. The images in the binary are also found by name and by file
// name, so that choosing another flavor needs no network.
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
		return s.named(ctx, c.value)
	case stage1FromDir:
		return s.fromDir(ctx, c.value)
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

// named finds an image by its name. What an image in the binary is called means
// that image, whatever else of that name and version the store has: builds of
// one version differ.
func (s *stage1Finder) named(ctx context.Context, name string) (appc.ImageID, error) {
	point, err := distribution.ParseAppc(name)
	if err != nil {
		return "", err
	}
	if image, ok := s.own(string(point.Name), point.Labels); ok {
		return s.fromBinary(ctx, image)
	}
	// Of a stage1 image only name and labels count, not for which platform it
	// says it is, as in a search for images of apps.
	id, err := s.store.Find(point.Name, point.Labels) //nolint:contextcheck // a look-up is short
	if errors.Is(err, imagestore.ErrNotFound) {
		return s.get(ctx, name, false)
	}
	if err == nil {
		s.usingStored(ctx, name)
	}
	return id, err
}

// fromDir reads a file of the images directory; if there is none of that name,
// the image in the binary that would be installed under it counts.
func (s *stage1Finder) fromDir(ctx context.Context, file string) (appc.ImageID, error) {
	path := filepath.Join(s.imagesDir(), file)
	for _, image := range s.d.Embedded {
		if image.File() != file {
			continue
		}
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return s.fromBinary(ctx, image)
		}
	}
	return s.file(ctx, path)
}

// own finds the image in the binary that has the name and all the labels.
func (s *stage1Finder) own(name string, labels appc.Labels) (embedded.Image, bool) {
	i := slices.IndexFunc(s.d.Embedded, func(image embedded.Image) bool { return image.Name == name })
	if i < 0 {
		return embedded.Image{}, false
	}
	hostOS, arch := appc.HostLabels()
	has := map[appc.Identifier]string{"version": version, "os": hostOS, "arch": arch}
	for _, l := range labels {
		if value, ok := has[l.Name]; !ok || value != l.Value {
			return embedded.Image{}, false
		}
	}
	return s.d.Embedded[i], true
}

// fromBinary imports an image of the binary unless the store has it: asking by
// ID costs next to nothing.
func (s *stage1Finder) fromBinary(ctx context.Context, image embedded.Image) (appc.ImageID, error) {
	want := appc.ImageID(image.ID)
	if s.has(want) {
		s.usingStored(ctx, image.Name+":"+version)
		return want.Key(), nil
	}
	id, err := s.store.ImportACI(ctx, image.Open(), imagestore.ImportOptions{WantID: want})
	if err != nil {
		return "", fmt.Errorf("cannot import the image %s of this binary: %w", image.Name, err)
	}
	return id.Key(), nil
}

func (s *stage1Finder) usingStored(ctx context.Context, name string) {
	s.d.Logger("image").DebugContext(ctx, "using image from local store for image name "+name)
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
	name, ver := s.config.Stage1.Name, s.config.Stage1.Version
	if name == "" {
		name, ver = defaultStage1Name, version
	}
	id, found, err := s.stored(ctx, name, ver)
	if err != nil || found {
		return id, err
	}
	location := s.config.Stage1.Location
	if location == "" {
		if _, ok := s.own(name, versionLabels(ver)); !ok {
			name = defaultStage1Name
		}
		return s.builtIn(ctx, name)
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

// stored looks for a name and version in the store. Development versions name
// no definite image, so they are not looked for.
func (s *stage1Finder) stored(ctx context.Context, name, ver string) (appc.ImageID, bool, error) {
	if strings.HasSuffix(ver, "-dirty") || strings.HasSuffix(ver, "-dev") {
		return "", false, nil
	}
	// If the image of that name is in the binary, asking for its ID spares the
	// index.
	if image, ok := s.own(name, versionLabels(ver)); ok && s.has(appc.ImageID(image.ID)) {
		return appc.ImageID(image.ID).Key(), true, nil
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
		s.usingStored(ctx, name+":"+ver)
	}
	return id, err == nil, err
}

func versionLabels(ver string) appc.Labels { return appc.Labels{{Name: "version", Value: ver}} }

func (s *stage1Finder) has(id appc.ImageID) bool {
	_, err := s.store.Record(id.Key())
	return err == nil
}

// builtIn takes the first there is of an image that comes with rkt: the file
// next to the binary, the installed one, the image in the binary.
func (s *stage1Finder) builtIn(ctx context.Context, name string) (appc.ImageID, error) {
	file := path.Base(name) + ".aci"
	id, err := s.beside(ctx, file)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	id, err = s.remembered(ctx, filepath.Join(s.d.Stage1Images, file))
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if image, ok := s.own(name, nil); ok {
		return s.fromBinary(ctx, image)
	}
	return "", errors.New("neither the location of the default stage1 image nor its filename are set, " +
		"use --stage1-{path,url,name,hash,from-dir} flag")
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
