// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// Scope is what a key is trusted for: a prefix of image names, or all images
// (Root, the zero value).
type Scope appc.Identifier

// Root is the scope of root keys.
const Root Scope = ""

// String is "root" or the prefix.
func (s Scope) String() string {
	if s == Root {
		return "root"
	}
	return string(s)
}

// Level is one of the two directories.
type Level string

// The levels.
const (
	System Level = "system"
	Local  Level = "local"
)

// Store is where the keys are. It holds nothing open; the zero value has no keys.
type Store struct {
	SystemDir string // configuration directory of the system; may be empty
	LocalDir  string // local configuration directory
}

const (
	keysDir   = "trustedkeys"
	rootDir   = "root.d"
	prefixDir = "prefix.d"
)

// base is the directory of all keys of a level, "" if there is none.
func (s *Store) base(l Level) string {
	dir := s.SystemDir
	if l == Local {
		dir = s.LocalDir
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, keysDir)
}

// components are the directories of a scope below the base.
func (s Scope) components() ([]string, error) {
	if s == Root {
		return []string{rootDir}, nil
	}
	if _, err := appc.NewIdentifier(string(s)); err != nil {
		return nil, fmt.Errorf("prefix %q: %w", string(s), err)
	}
	parts := strings.Split(string(s), "/")
	for _, p := range parts {
		// An AC identifier may hold these, a path may not.
		if p == "" || p == "." || p == ".." {
			return nil, fmt.Errorf("%q is no path: it has the component %q", string(s), p)
		}
	}
	return append([]string{prefixDir}, parts...), nil
}

func (s *Store) path(l Level, scope Scope, f Fingerprint) (string, error) {
	parts, err := scope.components()
	if err != nil {
		return "", err
	}
	return filepath.Join(slices.Concat([]string{s.base(l)}, parts, []string{string(f)})...), nil
}

// keyFile is one file of the keystore.
type keyFile struct {
	name  Fingerprint
	scope Scope
	level Level
	path  string
	keys  *Keys // nil for a mask
}

// dirKeys reads the key files of one directory, in the order of their names.
// One that does not exist has none.
func dirKeys(l Level, scope Scope, dir string) ([]*keyFile, error) {
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	var files []*keyFile
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if len(files) == maxKeyFiles {
			return nil, fmt.Errorf("%s: more than %d keys", dir, maxKeyFiles)
		}
		f, err := readKeyFile(filepath.Join(dir, e.Name()), e)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.level, f.scope = l, scope
		files = append(files, f)
	}
	return files, nil
}

// readDir lists a real directory; links to directories are refused, so that what is
// trusted is what List shows.
func readDir(dir string) ([]os.DirEntry, error) {
	fi, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !fi.IsDir():
		return nil, fmt.Errorf("%s is not a directory", dir)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// errGone is a file that was removed since its directory was read.
var errGone = errors.New("gone")

const strayHint = "move %s away: only keys written by rkt trust, and empty files that mask them, belong there"

// readKeyFile reads a key or a mask. Links to files are followed.
func readKeyFile(path string, e os.DirEntry) (*keyFile, error) {
	name := filepath.Base(path)
	if !fingerprintPattern.MatchString(name) {
		// Its content says more about a key than its name does.
		if data, err := readRegular(path); err == nil && len(data) > 0 {
			if keys, err := parseKeys(data); err == nil {
				return nil, mismatch(path, keys)
			}
		}
		return nil, hint.With(fmt.Errorf("%s: the file is not named by a fingerprint", path), strayHint, path)
	}
	data, err := readRegular(path)
	if errors.Is(err, fs.ErrNotExist) && e.Type().IsRegular() {
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	f := &keyFile{name: Fingerprint(name), path: path}
	if len(data) == 0 {
		return f, nil
	}
	if f.keys, err = parseKeys(data); err != nil {
		return nil, hint.With(fmt.Errorf("%s: %w", path, err), strayHint, path)
	}
	if f.keys.Fingerprint() != f.name {
		return nil, mismatch(path, f.keys)
	}
	return f, nil
}

func mismatch(path string, keys *Keys) error {
	return hint.With(fmt.Errorf("fingerprint mismatch: %q:%q", path, keys.Fingerprint()),
		"rename the file to the fingerprint of its first key, in lower case, or add the key with rkt trust")
}

// readRegular reads a regular file, or what a link to one leads to.
func readRegular(path string) (data []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if data, err = readCapped(f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// Added is where a key was put.
type Added struct {
	Path    string
	Existed bool // the key was trusted there before
}

// Add trusts keys, locally. A mask of the same key and scope is replaced.
func (s *Store) Add(scope Scope, keys *Keys) (Added, error) {
	path, err := s.path(Local, scope, keys.Fingerprint())
	if err != nil {
		return Added{}, err
	}
	data, err := keys.Armored()
	if err != nil {
		return Added{}, err
	}
	if s.LocalDir == "" {
		return Added{}, errors.New("no local configuration directory")
	}
	if err := s.makeDirs(filepath.Dir(path)); err != nil {
		return Added{}, err
	}
	fi, err := os.Lstat(path)
	existed := err == nil && fi.Mode().IsRegular() && fi.Size() > 0
	if err := atomicfile.Write(path, data, 0o644); err != nil {
		return Added{}, err
	}
	return Added{Path: path, Existed: existed}, nil
}

// makeDirs makes the directories down to dir, with mode 0755 whatever the
// umask is. Those that are there are left alone.
func (s *Store) makeDirs(dir string) error {
	if err := os.MkdirAll(s.LocalDir, 0o755); err != nil {
		return err
	}
	rel, err := filepath.Rel(s.LocalDir, dir)
	if err != nil {
		return err
	}
	at := s.LocalDir
	for part := range strings.SplitSeq(rel, "/") {
		parent := at
		at = filepath.Join(at, part)
		err := os.Mkdir(at, 0o755)
		if errors.Is(err, fs.ErrExist) {
			if fi, lerr := os.Lstat(at); lerr != nil || !fi.IsDir() {
				return fmt.Errorf("%s is not a directory", at)
			}
			continue
		}
		if err == nil {
			err = os.Chmod(at, 0o755)
		}
		if err == nil {
			err = atomicfile.SyncDir(parent)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Removed is what Remove did at one place.
type Removed struct {
	Scope  Scope
	Path   string
	Masked bool // the system has the key there, and an empty local file now hides it
}

// Remove stops trusting the key file of that name: for one scope or, with nil,
// wherever it is trusted. Local files are removed, those of the system masked.
func (s *Store) Remove(f Fingerprint, scope *Scope) ([]Removed, error) {
	infos, err := s.List(time.Time{})
	if err != nil {
		return nil, err
	}
	var removed []Removed
	at := map[Scope]bool{}
	for _, in := range infos {
		if in.File != f || in.Masked || at[in.Scope] || scope != nil && in.Scope != *scope {
			continue
		}
		at[in.Scope] = true
		r, err := s.removeAt(f, in.Scope)
		if err != nil {
			return removed, err
		}
		removed = append(removed, r)
	}
	return removed, nil
}

func (s *Store) removeAt(f Fingerprint, scope Scope) (Removed, error) {
	path, err := s.path(Local, scope, f)
	if err != nil {
		return Removed{}, err
	}
	inSystem := false
	if s.SystemDir != "" {
		system, err := s.path(System, scope, f)
		if err != nil {
			return Removed{}, err
		}
		fi, err := os.Stat(system)
		inSystem = err == nil && fi.Size() > 0
	}
	if inSystem {
		if err := s.makeDirs(filepath.Dir(path)); err != nil {
			return Removed{}, err
		}
		return Removed{Scope: scope, Path: path, Masked: true}, atomicfile.Write(path, nil, 0o644)
	}
	if err := os.Remove(path); err != nil {
		return Removed{}, err
	}
	return Removed{Scope: scope, Path: path}, atomicfile.SyncDir(filepath.Dir(path))
}

// Info is one key of one file, as List shows it.
type Info struct {
	Fingerprint Fingerprint
	File        Fingerprint // that the file is named by
	Scope       Scope
	Level       Level
	Path        string
	Identities  []string
	Created     time.Time
	Status      string // "valid", or why its signatures are refused
	Masked      bool   // an empty local file of the same scope takes it away
	Err         error  // the file cannot be read; nothing else but Scope, Level and Path is known
}

// List returns all keys: root keys first, then by prefix. Files that cannot be
// read are in it with their error.
func (s *Store) List(now time.Time) ([]Info, error) {
	masks := map[[2]string]bool{}
	var infos []Info
	for _, l := range []Level{Local, System} {
		if s.base(l) == "" {
			continue
		}
		err := s.walk(l, func(scope Scope, path string, e os.DirEntry) {
			f, err := readKeyFile(path, e)
			switch {
			case errors.Is(err, errGone):
			case err != nil:
				infos = append(infos, Info{Scope: scope, Level: l, Path: path, Err: err})
			case f.keys == nil:
				if l == Local {
					masks[[2]string{string(scope), string(f.name)}] = true
				}
			default:
				masked := l == System && masks[[2]string{string(scope), string(f.name)}]
				for _, k := range f.keys.List {
					infos = append(infos, Info{
						Fingerprint: k.Fingerprint(), File: f.name, Scope: scope, Level: l, Path: path,
						Identities: k.Identities(), Created: k.Created(), Status: k.Status(now), Masked: masked,
					})
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(infos, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.File, b.File), cmp.Compare(a.Path, b.Path))
	})
	return infos, nil
}

const maxListed = 100_000 // files and directories that List walks over

// walk calls fn for every file of a level.
func (s *Store) walk(l Level, fn func(scope Scope, path string, e os.DirEntry)) error {
	n := 0
	var visit func(dir string, scope Scope, depth int) error
	visit = func(dir string, scope Scope, depth int) error {
		entries, err := readDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if n++; n > maxListed {
				return fmt.Errorf("%s: more than %d files", s.base(l), maxListed)
			}
			path := filepath.Join(dir, e.Name())
			switch {
			case e.IsDir() && depth >= 0:
				below := Scope(e.Name())
				if depth > 0 {
					below = scope + "/" + below
				}
				if err := visit(path, below, depth+1); err != nil {
					return err
				}
			case e.IsDir(), strings.HasPrefix(e.Name(), "."):
			default:
				fn(scope, path, e)
			}
		}
		return nil
	}
	if err := visit(filepath.Join(s.base(l), rootDir), Root, -1); err != nil {
		return err
	}
	return visit(filepath.Join(s.base(l), prefixDir), Root, 0)
}
