// SPDX-License-Identifier: Apache-2.0

package trustpolicy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/cosign"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// Caps.
const (
	maxFile  = 1 << 20
	maxFiles = 1000
	maxRules = 1000 // of one file
)

// Store is where the policies are. It holds nothing open; the zero value has none.
type Store struct {
	SystemDir string // configuration directory of the system; may be empty
	LocalDir  string // local configuration directory
}

const policyDir = "trust.d"

// Levels.
const (
	System = "system"
	Local  = "local"
)

// policyFile is one file that counts.
type policyFile struct {
	name, path, level string
}

// Load reads all rules.
func (s *Store) Load() (Rules, error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	var rules Rules
	for _, f := range files {
		r, err := f.read()
		if err != nil {
			return nil, err
		}
		rules = append(rules, r...)
	}
	return rules, nil
}

func (f policyFile) read() (Rules, error) {
	data, err := readRegular(f.path)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	rules, err := parse(f.path, data)
	if err != nil {
		if hint.Of(err) == "" {
			err = hint.With(err, "mend %s or move it away; docs/trust.md says what belongs there", f.path)
		}
		return nil, fmt.Errorf("trust policy %s: %w", f.path, err)
	}
	return rules, nil
}

// files are those that count, in their order.
func (s *Store) files() ([]policyFile, error) {
	byName := map[string]policyFile{}
	for _, l := range []struct{ dir, level string }{{s.SystemDir, System}, {s.LocalDir, Local}} {
		if l.dir == "" {
			continue
		}
		dir := filepath.Join(l.dir, policyDir)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("trust policies: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() || strings.HasPrefix(e.Name(), ".") || filepath.Ext(e.Name()) != ".json" {
				continue
			}
			byName[e.Name()] = policyFile{e.Name(), filepath.Join(dir, e.Name()), l.level}
		}
	}
	if len(byName) > maxFiles {
		return nil, fmt.Errorf("trust policies: more than %d files", maxFiles)
	}
	files := make([]policyFile, 0, len(byName))
	for _, f := range byName {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b policyFile) int { return cmp.Compare(a.name, b.name) })
	return files, nil
}

// readRegular reads a regular file, or what a link to one leads to.
func readRegular(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than the limit of %d bytes", path, maxFile)
	}
	return data, nil
}

// keyFileName is the file of one key for one scope.
func keyFileName(scope Scope, id string) string {
	sum := sha256.Sum256([]byte(scope.text))
	return "50-cosign-" + id + "-" + hex.EncodeToString(sum[:8]) + ".json"
}

// AddKey trusts a public key for a scope, locally, and returns where that is
// written. pem is the key as in the file cosign.pub.
func (s *Store) AddKey(scope Scope, pem []byte) (path string, key *cosign.Key, err error) {
	if s.LocalDir == "" {
		return "", nil, errors.New("no local configuration directory")
	}
	r := fileRule{Scope: scope.text, Requirement: string(Sigstore), Key: strings.TrimSpace(string(pem)) + "\n"}
	parsed, err := r.rule()
	if err != nil {
		return "", nil, err
	}
	data, err := json.MarshalIndent(file{Kind: kind, Version: version, Rules: []fileRule{r}}, "", "\t")
	if err != nil {
		return "", nil, err
	}
	dir := filepath.Join(s.LocalDir, policyDir)
	if err := makeDir(dir); err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, keyFileName(scope, parsed.Key.ID()))
	return path, parsed.Key, atomicfile.Write(path, append(data, '\n'), 0o644)
}

// makeDir makes dir with mode 0755 whatever the umask is, unless it is there.
func makeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(dir))
	}
	return err
}

// Info is a key that signs images of registries.
type Info struct {
	Key   *cosign.Key
	Scope Scope
	Level string
	Path  string
	Err   error // the file cannot be used; nothing else but Level and Path is known
}

// Keys lists all keys in the order of their rules, with the files that cannot be used.
func (s *Store) Keys() ([]Info, error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	var infos []Info
	for _, f := range files {
		rules, err := f.read()
		if err != nil {
			infos = append(infos, Info{Level: f.level, Path: f.path, Err: err})
		}
		for _, r := range rules {
			if r.Key != nil {
				infos = append(infos, Info{Key: r.Key, Scope: r.Scope, Level: f.level, Path: f.path})
			}
		}
	}
	return infos, nil
}

// Removed is what RemoveKey did at one place.
type Removed struct {
	Scope  Scope
	Path   string
	Masked bool // the system has the file, and an empty local one now hides it
}

// RemoveKey stops trusting the key with that ID: for one scope or, with nil,
// wherever it is trusted. Files that hold more than the one rule are left
// alone, which is an error.
func (s *Store) RemoveKey(id string, scope *Scope) ([]Removed, error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	var removed []Removed
	for _, f := range files {
		rules, err := f.read()
		if err != nil {
			return removed, err
		}
		i := slices.IndexFunc(rules, func(r Rule) bool {
			return r.Key != nil && r.Key.ID() == id && (scope == nil || r.Scope == *scope)
		})
		if i < 0 {
			continue
		}
		if len(rules) > 1 {
			err := fmt.Errorf("%s has other rules, too", f.path)
			return removed, hint.With(err, "take the rule out of the file with an editor")
		}
		r, err := s.removeFile(f, rules[i].Scope)
		if err != nil {
			return removed, err
		}
		removed = append(removed, r)
	}
	return removed, nil
}

func (s *Store) removeFile(f policyFile, scope Scope) (Removed, error) {
	dir := filepath.Join(s.LocalDir, policyDir)
	local := filepath.Join(dir, f.name)
	inSystem := false
	if s.SystemDir != "" {
		st, err := os.Stat(filepath.Join(s.SystemDir, policyDir, f.name))
		inSystem = err == nil && st.Size() > 0
	}
	if inSystem {
		if s.LocalDir == "" {
			return Removed{}, errors.New("no local configuration directory")
		}
		if err := makeDir(dir); err != nil {
			return Removed{}, err
		}
		return Removed{scope, local, true}, atomicfile.Write(local, nil, 0o644)
	}
	if err := os.Remove(local); err != nil {
		return Removed{}, err
	}
	return Removed{scope, local, false}, atomicfile.SyncDir(dir)
}
