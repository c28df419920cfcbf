// SPDX-License-Identifier: Apache-2.0

package treestore

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// maxImages caps the flattened list of dependencies: diamonds stacked on each
// other would make it grow exponentially.
const maxImages = 1024

// plan says what the tree of an image is made of.
type plan struct {
	key      appc.ImageID
	rec      *imagestore.Record
	manifest []byte
	id       string
	list     []part // images.md 10.7: the image first, what is earlier wins
}

// part is one image of a flattened list.
type part struct {
	key       appc.ImageID
	own       map[string]bool   // the image's path whitelist; nil: all
	ancestors []map[string]bool // those of the images it was reached through
}

// merged tells whether the tree is not simply the image.
func (p *plan) merged() bool { return len(p.list) > 1 || p.list[0].filtered() }

func (x *part) filtered() bool { return x.own != nil || len(x.ancestors) > 0 }

// keep applies all whitelists to a path, "/etc/passwd" (images.md 10.8).
func (x *part) keep(path string, dir bool) bool {
	if x.own != nil && !dir && !x.own[path] {
		return false
	}
	return !slices.ContainsFunc(x.ancestors, func(w map[string]bool) bool { return !w[path] })
}

// CycleError tells that an image depends on itself.
type CycleError struct{ Name appc.Identifier }

func (e *CycleError) Error() string {
	return fmt.Sprintf("image %q depends on itself", e.Name)
}

// plan flattens the dependencies of an image.
func (t *Store) plan(key appc.ImageID) (*plan, error) {
	rec, err := t.images.Record(key)
	if err != nil {
		return nil, err
	}
	m, err := t.images.Manifest(key)
	if err != nil {
		return nil, err
	}
	data, err := m.Marshal()
	if err != nil {
		return nil, err
	}
	f := &flattener{images: t.images}
	if err := f.add(rec.ID.Key(), m, nil, nil); err != nil {
		return nil, fmt.Errorf("cannot calculate treestore id: %w", err)
	}
	keys := make([]string, len(f.list))
	for i, x := range f.list {
		keys[i] = string(x.key)
	}
	return &plan{key: rec.ID.Key(), rec: rec, manifest: data, id: idOf(keys), list: f.list}, nil
}

type flattener struct {
	images *imagestore.Store
	list   []part
}

// add appends an image and what it depends on, last dependency first.
func (f *flattener) add(key appc.ImageID, m *appc.ImageManifest, above []appc.ImageID, lists []map[string]bool) error {
	if slices.Contains(above, key) {
		return &CycleError{Name: m.Name}
	}
	if len(f.list) == maxImages {
		return fmt.Errorf("more than %d images, counting each dependency each time", maxImages)
	}
	own := whitelist(m)
	f.list = append(f.list, part{key: key, own: own, ancestors: lists})
	if own != nil {
		lists = append(slices.Clone(lists), own)
	}
	above = append(slices.Clone(above), key)
	for _, dep := range slices.Backward(m.Dependencies) {
		key, dm, err := f.find(dep)
		if err != nil {
			return fmt.Errorf("dependency %q of %q: %w", dep.ImageName, m.Name, err)
		}
		if err := f.add(key, dm, above, lists); err != nil {
			return err
		}
	}
	return nil
}

// whitelist is nil for an image that shows all its files.
func whitelist(m *appc.ImageManifest) map[string]bool {
	if len(m.PathWhitelist) == 0 {
		return nil
	}
	set := map[string]bool{}
	for _, p := range m.PathWhitelist {
		set[path.Clean(p)] = true
	}
	return set
}

// find locates a dependency and enforces what it says about the image.
func (f *flattener) find(dep appc.Dependency) (appc.ImageID, *appc.ImageManifest, error) {
	var key appc.ImageID
	var err error
	if dep.ImageID != nil {
		key, err = f.images.Resolve(dep.ImageID.String())
	} else {
		key, err = f.images.Find(dep.ImageName, dep.Labels)
	}
	if err != nil {
		return "", nil, err
	}
	rec, err := f.images.Record(key)
	if err != nil {
		return "", nil, err
	}
	if err := checkDependency(dep, rec); err != nil {
		return "", nil, err
	}
	m, err := f.images.Manifest(key)
	return key, m, err
}

func checkDependency(dep appc.Dependency, rec *imagestore.Record) error {
	if rec.Name != dep.ImageName {
		return fmt.Errorf("image %s is called %q", rec.ID.Key(), rec.Name)
	}
	for _, l := range dep.Labels {
		if v, ok := rec.Labels.Get(string(l.Name)); !ok || v != l.Value {
			return fmt.Errorf("image %s has no label %q with value %q", rec.ID.Key(), l.Name, l.Value)
		}
	}
	if id := dep.ImageID; id != nil && id.IsFull() && rec.ID.IsFull() && *id != rec.ID {
		return fmt.Errorf("image hash does not match expected (%s != %s)", rec.ID, *id)
	}
	if dep.Size != 0 && rec.Size != int64(dep.Size) {
		return fmt.Errorf("image %s has %d bytes, not %d", rec.ID.Key(), rec.Size, dep.Size)
	}
	return nil
}

// rootPath is the absolute path inside the image of a tar entry's name; ok is
// false for the manifest and the like.
func rootPath(name string) (string, bool) {
	name = path.Clean("/" + name)
	if name == "/"+rootfsName {
		return "/", true
	}
	return strings.CutPrefix(name, "/"+rootfsName)
}
