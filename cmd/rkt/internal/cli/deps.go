// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/embedded"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/progress"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/treestore"
)

// Deps is what commands get from outside: streams, clock, identity, and the
// stores and configuration, opened on first use. One Deps serves one call of
// Main and is not safe for concurrent use.
type Deps struct {
	Stdout io.Writer
	Stderr io.Writer
	Now    func() time.Time
	EUID   func() int
	// Executable is the path of the running program.
	Executable func() (string, error)
	// Embedded are the stage1 images inside the program.
	Embedded []embedded.Image
	// Stage1Images is where packages put stage1 images.
	Stage1Images string
	// MDS is where the metadata service has its files.
	MDS mds.Dir

	// Global holds the global flags, valid once they are parsed.
	Global Global

	command string // name of the running command, the prefix of its messages
	all     *config.Config
	paths   *config.Config
	warned  []string // warnings that were printed
	images  *imagestore.Store
	trees   *treestore.Store
	display *progress.Display // what downloads are shown on, once there are any

	cpuProfile *os.File
}

// NewDeps returns the Deps of an ordinary process.
func NewDeps(stage1 []embedded.Image) *Deps {
	return &Deps{
		Stdout:       os.Stdout,
		Stderr:       os.Stderr,
		Now:          time.Now,
		EUID:         os.Geteuid,
		Executable:   os.Executable,
		Embedded:     stage1,
		Stage1Images: defaultStage1Images,
		MDS:          mds.Default,
	}
}

func (d *Deps) configDirs() config.Dirs {
	return config.Dirs{System: d.Global.SystemConfig, Local: d.Global.LocalConfig, User: d.Global.UserConfig}
}

// Config reads the whole configuration.
func (d *Deps) Config() (*config.Config, error) {
	if d.all != nil {
		return d.all, nil
	}
	c, err := d.loadConfig()
	if err != nil {
		return nil, err
	}
	d.warn(c)
	d.all, d.paths = c, c
	return c, nil
}

// pathsConfig reads only what says where the data is.
func (d *Deps) pathsConfig() (*config.Config, error) {
	if d.paths != nil {
		return d.paths, nil
	}
	c, err := d.loadConfig(config.KindPaths)
	if err != nil {
		return nil, err
	}
	d.warn(c)
	d.paths = c
	return c, nil
}

// warn prints what the configuration wants said, each text once.
func (d *Deps) warn(c *config.Config) {
	for _, w := range c.Warnings {
		if !slices.Contains(d.warned, w) {
			d.warned = append(d.warned, w)
			d.errorf("warning: %s", w)
		}
	}
}

// loadConfig prints nothing: `rkt config` must not.
func (d *Deps) loadConfig(kinds ...config.Kind) (*config.Config, error) {
	c, err := config.Load(d.configDirs(), kinds...)
	if err != nil {
		return nil, fmt.Errorf("cannot get configuration: %w", err)
	}
	return c, nil
}

// DataDir is the data directory: --dir, else the configured one, else the
// default, without symbolic links.
func (d *Deps) DataDir() (string, error) {
	dir := d.Global.Dir
	if dir == "" {
		c, err := d.pathsConfig()
		if err != nil {
			return "", err
		}
		dir = c.Paths.Data
	}
	if dir == "" {
		dir = defaultDataDir
	}
	resolved, err := filepath.EvalSymlinks(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, nil
	case err != nil:
		return "", fmt.Errorf("cannot evaluate dataDir %q real path: %w", dir, err)
	}
	return resolved, nil
}

func (d *Deps) casDir() (string, error) {
	dir, err := d.DataDir()
	return filepath.Join(dir, poddir.CAS), err
}

// Images opens the image store.
func (d *Deps) Images(ctx context.Context) (*imagestore.Store, error) {
	if d.images != nil {
		return d.images, nil
	}
	if err := d.openStores(ctx); err != nil {
		return nil, fmt.Errorf("cannot open store: %w", err)
	}
	return d.images, nil
}

// Trees opens the tree store.
func (d *Deps) Trees(ctx context.Context) (*treestore.Store, error) {
	if _, err := d.Images(ctx); err != nil {
		return nil, err
	}
	return d.trees, nil
}

func (d *Deps) openStores(ctx context.Context) error {
	dir, err := d.casDir()
	if err != nil {
		return err
	}
	// Not left to the store: its directories are writable for the group.
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return err
	}
	d.images, err = imagestore.Open(ctx, dir, imagestore.Options{Logger: d.Logger("image")})
	if err != nil {
		return err
	}
	d.trees, err = treestore.Open(ctx, dir, d.images, treestore.Options{Logger: d.Logger("image")})
	return err
}

// close gives back what was opened.
func (d *Deps) close() {
	if d.images != nil {
		_ = d.images.Close() // nothing was written since the last commit
	}
}

// Logger returns a logger whose lines start with the component's name; "" is
// the running command. Debug lines appear with --debug only.
func (d *Deps) Logger(component string) *slog.Logger {
	if component == "" {
		component = d.command
	}
	return slog.New(&lineHandler{print: d.writeErr, component: component, debug: &d.Global.Debug})
}
