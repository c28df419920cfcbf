// SPDX-License-Identifier: Apache-2.0

package treestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// Fsck checks the image store, then the trees of all images with every byte,
// and looks for trees that are damaged and belong to no image. With repair, damaged trees are made
// anew and leftovers are removed.
func (t *Store) Fsck(ctx context.Context, repair bool) (*imagestore.Report, error) {
	report, err := t.images.Fsck(ctx, repair)
	if err != nil || os.Geteuid() != 0 {
		return report, err
	}
	f := &fsck{t: t, repair: repair, report: report, seen: map[string]bool{}}
	if err := f.images(ctx); err != nil {
		return report, err
	}
	if err := f.others(ctx); err != nil {
		return report, err
	}
	return report, f.leftovers()
}

type fsck struct {
	t      *Store
	repair bool
	report *imagestore.Report
	seen   map[string]bool // trees that were verified with an image
}

func (f *fsck) images(ctx context.Context) error {
	list, err := f.t.images.List(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b imagestore.Info) int { return compareIDs(a.ID, b.ID) })
	for _, image := range list {
		if image.Name == "" {
			continue // its record cannot be read, which the image store has reported
		}
		r, err := f.t.Verify(ctx, image.ID)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			f.unverified(r, image.ID, err)
			continue
		}
		if r.Rendered {
			f.verified(ctx, r)
		}
	}
	return nil
}

func compareIDs(a, b appc.ImageID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// unverified reports an image whose trees could not be verified, for example
// because a dependency is missing. Without a tree that is no problem of this store.
func (f *fsck) unverified(r Result, key appc.ImageID, err error) {
	if r.Rendered {
		f.report.Problems = append(f.report.Problems, imagestore.Problem{
			Kind: imagestore.BadTree, Subject: string(key), Detail: fmt.Sprintf("cannot verify: %v", err),
		})
	}
}

func (f *fsck) verified(ctx context.Context, r Result) {
	f.seen[r.TreeID] = true
	if info, err := f.t.d.readInfo(r.TreeID); err == nil {
		for _, l := range info.Layers {
			f.seen[l] = true
		}
	}
	f.report.Trees++
	if r.Damage == nil {
		return
	}
	p := imagestore.Problem{Kind: imagestore.BadTree, Subject: r.TreeID, Detail: r.Damage.Error(), Repair: "rebuilt the tree"}
	if f.repair {
		_, err := f.t.Rebuild(ctx, r)
		p.Repaired = err == nil
		if err != nil {
			p.Repair = fmt.Sprintf("rebuild failed: %v", err)
		}
	}
	f.report.Problems = append(f.report.Problems, p)
}

// others checks trees of images that were removed. Pods may use them, and
// there is nothing to make them from: damage is reported, not repaired.
func (f *fsck) others(ctx context.Context) error {
	ids, err := f.t.d.ids()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if f.seen[id] {
			continue
		}
		f.report.Trees++
		ref, err := f.t.d.open(ctx, id, true)
		if err == nil {
			err = ref.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.report.Problems = append(f.report.Problems, imagestore.Problem{
				Kind: imagestore.BadTree, Subject: id, Detail: err.Error(),
				Repair: `no image has this tree; "rkt image gc" removes it when no pod needs it`,
			})
		}
	}
	return nil
}

// leftovers reports, and with repair removes, drafts nobody works on and trash.
// Former trees stay for garbage collection, which knows the pods.
func (f *fsck) leftovers() error {
	names, err := readNames(f.t.d.path(unpackDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		path := f.t.d.path(unpackDir, name)
		l, err := lock.TryTake(path, lock.Exclusive)
		if err != nil {
			continue // being worked on, or gone
		}
		g := imagestore.Garbage{Path: path}
		if f.repair && !strings.HasPrefix(name, asidePrefix) {
			err := os.RemoveAll(path)
			g.Removed = err == nil
			errs = append(errs, err)
		}
		f.report.Garbage = append(f.report.Garbage, g)
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
