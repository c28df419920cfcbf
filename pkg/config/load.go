// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFileSize bounds what one configuration file may hold; real ones have a
// few hundred bytes.
const maxFileSize = 1 << 20

// Load reads the given kinds of all levels and merges them; no kind means all.
// A missing directory is an empty one. The error, if any, joins what is wrong
// with every broken file.
func Load(dirs Dirs, kinds ...Kind) (*Config, error) {
	merged := newConfig()
	var errs []error
	for _, dir := range []string{dirs.System, dirs.Local, dirs.User} {
		if dir == "" {
			continue
		}
		l := &level{Config: newConfig()}
		if err := l.read(dir, kinds); err != nil {
			errs = append(errs, err)
			continue
		}
		merged.override(l.Config)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return merged, nil
}

func newConfig() *Config {
	return &Config{Auth: map[string]AuthEntry{}, DockerAuth: map[string]Basic{}, Registries: map[string]Registry{}}
}

// override lays a later level over c.
func (c *Config) override(later *Config) {
	for domain, e := range later.Auth {
		c.Auth[domain] = e
	}
	for registry, b := range later.DockerAuth {
		c.DockerAuth[registry] = b
	}
	for prefix, r := range later.Registries {
		c.Registries[prefix] = r
	}
	set(&c.Paths.Data, later.Paths.Data)
	set(&c.Paths.Stage1Images, later.Paths.Stage1Images)
	set(&c.Stage1.Location, later.Stage1.Location)
	if later.Stage1.Name != "" {
		c.Stage1.Name, c.Stage1.Version = later.Stage1.Name, later.Stage1.Version
	}
	c.Warnings = append(c.Warnings, later.Warnings...)
}

func set(dst *string, v string) {
	if v != "" {
		*dst = v
	}
}

// level is one directory while it is read: what it has so far, to find
// duplicates.
type level struct {
	*Config
}

func (l *level) warnf(format string, args ...any) {
	l.Warnings = append(l.Warnings, fmt.Sprintf(format, args...))
}

func (l *level) read(dir string, kinds []Kind) error {
	if ok, err := isDir(dir); err != nil || !ok {
		return err
	}
	var errs []error
	for _, kd := range kindDirs() {
		if !wanted(kd, kinds) {
			continue
		}
		if err := l.readKindDir(filepath.Join(dir, kd.name), kd); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func wanted(kd kindDir, kinds []Kind) bool {
	return len(kinds) == 0 || slices.ContainsFunc(kd.kinds, func(k Kind) bool { return slices.Contains(kinds, k) })
}

// isDir reports whether path is a directory; missing is false without error.
func isDir(path string) (bool, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !st.IsDir():
		return false, fmt.Errorf("expected %q to be a directory", path)
	}
	return true, nil
}

func (l *level) readKindDir(dir string, kd kindDir) error {
	if st, err := os.Lstat(dir); err == nil && st.Mode().Type() == fs.ModeSymlink {
		l.warnf("the configuration directory %q is a symbolic link and is ignored", dir)
		return nil
	}
	if ok, err := isDir(dir); err != nil || !ok {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if filepath.Ext(e.Name()) != ".json" || !l.isRegular(path) {
			continue
		}
		if err := l.readFile(path, kd); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// isRegular reports whether path is a regular file or a link to one.
// Everything else in a kind directory is ignored.
func (l *level) isRegular(path string) bool {
	st, err := os.Stat(path)
	if err != nil {
		// Only a link can dangle here; a link that cannot be followed says
		// so, since its author expects it to count.
		l.warnf("the configuration file %q is ignored: %v", path, err)
		return false
	}
	return st.Mode().IsRegular()
}

func (l *level) readFile(path string, kd kindDir) error {
	data, err := readLimited(path)
	if err != nil {
		return err
	}
	kind, err := parseHeader(path, data)
	if err != nil {
		return err
	}
	if !slices.Contains(kd.kinds, kind) {
		return fmt.Errorf("the configuration directory %q expects to have configuration files of kinds %s, but %q has kind of %q",
			filepath.Dir(path), quoteKinds(kd.kinds), filepath.Base(path), kind)
	}
	if err := l.parse(path, kind, data); err != nil {
		return fmt.Errorf("failed to parse %q: %w", path, err)
	}
	return nil
}

func quoteKinds(kinds []Kind) string {
	var b strings.Builder
	for i, k := range kinds {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", k)
	}
	return b.String()
}

func readLimited(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxFileSize {
		return nil, fmt.Errorf("configuration file %q has more than %d bytes", path, maxFileSize)
	}
	return os.ReadFile(path)
}

// parseHeader reads rktKind and rktVersion.
func parseHeader(path string, data []byte) (Kind, error) {
	var h header
	if err := decode(data, &h); err != nil {
		return "", fmt.Errorf("failed to parse %q: %w", path, err)
	}
	if h.Kind == "" {
		return "", fmt.Errorf("no rktKind specified in %q", path)
	}
	if h.Version == "" {
		return "", fmt.Errorf("no rktVersion specified in %q", path)
	}
	if h.Version != Version {
		return "", fmt.Errorf("no parser available for configuration of kind %q and version %q in %q", h.Kind, h.Version, path)
	}
	return Kind(h.Kind), nil
}

// parse dispatches to the parser of the kind.
func (l *level) parse(path string, kind Kind, data []byte) error {
	switch kind {
	case KindAuth:
		l.warnReadable(path)
		return l.parseAuth(data)
	case KindDockerAuth:
		l.warnReadable(path)
		return l.parseDockerAuth(data)
	case KindPaths:
		return l.parsePaths(data)
	case KindRegistry:
		return l.parseRegistry(data)
	case KindStage1:
		return l.parseStage1(data)
	}
	return fmt.Errorf("no parser available for configuration of kind %q and version %q", kind, Version)
}

func (l *level) warnReadable(path string) {
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o004 != 0 {
		l.warnf("the configuration file %q holds credentials and is readable by everybody", path)
	}
}
