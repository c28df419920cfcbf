// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// OCIImage is an image whose layers were put.
type OCIImage struct {
	Manifest       *appc.ImageManifest
	RawManifest    []byte // as received; nil where the source has none (docker-archive)
	RawConfig      []byte
	ManifestDigest string // of RawManifest
	Layers         []layer.Descriptor
	Latest         bool
	Remote         *Remote
	Verified       *Verification // recorded with the image; nil leaves what is recorded
}

// OCIImport collects the layers of one image. Between the first PutLayer or
// HasLayer and Close none of them can be removed by others.
type OCIImport struct {
	s     *Store
	flush *flusher
	check bool            // compare trees with their index, replace damaged ones
	renew map[string]bool // diff IDs of trees that are known to be damaged
	work  sync.WaitGroup  // layers on their way to disk

	mu     sync.Mutex
	holds  map[string]io.Closer // by lock name
	layers map[layerID]*held    // verified and, if there is somewhere, unpacked
	known  map[layerID]bool     // pairs of digest and diff ID some record vouches for
	dirs   []*scratch           // of an unprivileged user's layers
	mended []string             // diff IDs of damaged trees that were replaced
	err    error                // of the work in the background
}

// layerID is a digest with the diff ID it was verified to have.
type layerID struct{ digest, diffID digest }

// held is one layer that is ready.
type held struct {
	source layer.Source // of an unprivileged user: its scratch
	ref    *TreeRef     // with a tree sink

	needsLower bool // there is no tree: the layer cannot stand alone
}

// BeginOCI starts an import. The caller closes it.
func (s *Store) BeginOCI(_ context.Context) (*OCIImport, error) {
	return &OCIImport{
		s: s, flush: newFlusher(s.dir),
		holds: map[string]io.Closer{}, layers: map[layerID]*held{},
	}, nil
}

// HasLayer tells whether a layer is in the store, so that PutLayer would not
// ask for its bytes. It stays there until Close.
func (im *OCIImport) HasLayer(ctx context.Context, d layer.Descriptor) (bool, error) {
	b, err := specOf(d)
	if err != nil {
		return false, err
	}
	if err := im.hold(ctx, b.digest); err != nil {
		return false, err
	}
	return im.s.hasBlob(b), nil
}

// PutLayer makes sure that a layer is in the store, verified and, with a tree sink, unpacked. Bytes
// that are missing come from open, which must start at the offset it is given.
// Another process that fetches the same layer is waited for.
// When PutLayer returns, the layer may still be on its way to disk; Commit
// waits for that. PutLayer may be called concurrently.
func (im *OCIImport) PutLayer(ctx context.Context, d layer.Descriptor, open func(ctx context.Context, offset int64) (io.ReadCloser, error)) error {
	b, err := specOf(d)
	if err != nil {
		return err
	}
	if err := im.hold(ctx, b.digest); err != nil {
		return err
	}
	if done, u, err := im.ready(ctx, b); done || err != nil {
		return err
	} else if err := u.ref.Close(); err != nil {
		return err
	}
	busy, err := im.downloadLock(ctx, b)
	if err != nil {
		return err
	}
	later, err := im.put(ctx, b, open)
	if err != nil || later == nil {
		return errors.Join(err, busy.Close())
	}
	im.work.Go(func() {
		if err := errors.Join(later(), busy.Close()); err != nil {
			im.fail(fmt.Errorf("store layer %s: %w", b.digest, err))
		}
	})
	return nil
}

// hold keeps a blob from being removed until Close.
func (im *OCIImport) hold(ctx context.Context, d digest) error {
	im.mu.Lock()
	defer im.mu.Unlock()
	key := d.lockKey()
	if im.holds[key] != nil {
		return nil
	}
	l, err := im.s.keyLock(ctx, key, lock.Shared)
	if err != nil {
		return err
	}
	im.holds[key] = l
	return nil
}

// downloadLock is held by the one who fetches or unpacks the layer.
func (im *OCIImport) downloadLock(ctx context.Context, b blobSpec) (*lock.Lock, error) {
	key := b.digest.lockKey() + downloadSuffix
	l, err := im.s.tryKeyLock(key)
	if !errors.Is(err, lock.ErrLocked) {
		return l, err
	}
	im.s.log.Debug("another rkt instance is downloading this file, waiting...", "blob", b.digest)
	return im.s.keyLock(ctx, key, lock.Exclusive)
}

const downloadSuffix = ".download"

// ready keeps the layer if nothing has to be done for it. Otherwise it tells
// what there is.
func (im *OCIImport) ready(ctx context.Context, b blobSpec) (bool, *unpacking, error) {
	id := layerID{b.digest, b.diffID}
	if im.layer(id) != nil {
		return true, nil, nil
	}
	u := &unpacking{im: im, id: id, haveBlob: im.s.hasBlob(b)}
	vouched := false
	var err error
	if u.haveBlob || im.check {
		if vouched, err = im.vouched(id); err != nil {
			return false, nil, err
		}
	}
	if u.ref, u.replace, err = im.tree(ctx, b); err != nil {
		return false, nil, err
	}
	if vouched && u.ref != nil {
		im.keep(id, &held{ref: u.ref})
		return true, nil, nil
	}
	return false, u, nil
}

// put does PutLayer under its locks. later, if not nil, brings the result to
// disk and into its place.
func (im *OCIImport) put(ctx context.Context, b blobSpec, open OpenFunc) (later func() error, err error) {
	done, u, err := im.ready(ctx, b)
	if done || err != nil {
		return nil, err
	}
	if u.haveBlob {
		err = u.fromStore(ctx, b)
	} else {
		err = u.fromSource(ctx, b, open)
	}
	if err != nil {
		return nil, errors.Join(err, u.discard(), u.ref.Close())
	}
	// The caller's context may end with its PutLayer calls (errgroup); what is
	// left to do is short and must not be torn off by that.
	ctx = context.WithoutCancel(ctx)
	return func() error { return u.finish(ctx, b, !u.haveBlob) }, nil
}

// tree finds the tree of a layer; nil if there is none or it is damaged.
func (im *OCIImport) tree(ctx context.Context, b blobSpec) (ref *TreeRef, damaged bool, err error) {
	switch {
	case im.s.trees == nil:
		return nil, false, nil
	case im.renew[b.diffID.String()]:
		return nil, true, nil
	}
	ref, err = im.s.trees.LayerTree(ctx, b.diffID.String(), im.check)
	var changed *layer.ChangedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case errors.As(err, &changed):
		im.damaged(b, err)
		return nil, true, nil
	}
	return ref, false, err
}

// damaged notes a tree that will be replaced, once.
func (im *OCIImport) damaged(b blobSpec, err error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if id := b.diffID.String(); !slices.Contains(im.mended, id) {
		im.s.log.Warn("tree cache is in a bad state. Rebuilding...", "layer", b.diffID, "error", err)
		im.mended = append(im.mended, id)
	}
}

func (im *OCIImport) layer(id layerID) *held {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.layers[id]
}

func (im *OCIImport) keep(id layerID, h *held) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.layers[id] = h
}

func (im *OCIImport) fail(err error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.err = errors.Join(im.err, err)
}

// vouched tells whether a stored image was made with this pair: then the
// blob is known to have that uncompressed content.
func (im *OCIImport) vouched(id layerID) (bool, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.known == nil {
		known, err := im.s.layerPairs()
		if err != nil {
			return false, err
		}
		im.known = known
	}
	return im.known[id], nil
}

func (s *Store) layerPairs() (map[layerID]bool, error) {
	known := map[layerID]bool{}
	err := s.eachRecord(func(r *Record) error {
		for _, l := range r.Layers {
			if b, err := specOf(l); err == nil {
				known[layerID{b.digest, b.diffID}] = true
			}
		}
		return nil
	}, func(appc.ImageID, error) {})
	return known, err
}

// unpacking is a layer under way.
type unpacking struct {
	im    *OCIImport
	id    layerID
	ref   *TreeRef // the tree is there, only the blob is missing
	draft Draft
	dir   *scratch
	res   *layer.Result

	haveBlob bool // nothing has to be fetched
	replace  bool // the tree that is there is damaged

	needsLower error // why the layer cannot stand alone
}

// unpacker starts afresh in an empty directory.
func (u *unpacking) unpacker(ctx context.Context) (unpackFunc, error) {
	if u.ref != nil {
		return discard, nil
	}
	if err := u.discard(); err != nil {
		return nil, err
	}
	root, err := u.root(ctx)
	if err != nil {
		return nil, err
	}
	s := u.im.s
	o := layer.UnpackOptions{Unprivileged: s.trees == nil, Limits: s.limits}
	return func(ctx context.Context, r io.Reader) (*layer.Result, error) {
		return u.unpackAlone(ctx, io.TeeReader(r, u.im.flush), root, o)
	}, nil
}

// root makes the directory to unpack into.
func (u *unpacking) root(ctx context.Context) (string, error) {
	var err error
	if u.im.s.trees != nil {
		if u.draft, err = u.im.s.trees.Draft(ctx); err != nil {
			return "", err
		}
		return u.draft.Rootfs(), nil
	}
	if u.dir, err = u.im.s.newScratch(ctx, true); err != nil {
		return "", err
	}
	root := filepath.Join(u.dir.path, "rootfs")
	return root, os.Mkdir(root, 0o755)
}

func (u *unpacking) discard() error {
	var errs []error
	if u.draft != nil {
		errs = append(errs, u.draft.Discard())
		u.draft = nil
	}
	if u.dir != nil {
		errs = append(errs, u.dir.Close())
		u.dir = nil
	}
	return errors.Join(errs...)
}

func (u *unpacking) fromStore(ctx context.Context, b blobSpec) error {
	unpack, err := u.unpacker(ctx)
	if err != nil {
		return err
	}
	u.res, err = u.im.s.readBlob(ctx, b, unpack)
	return err
}

func (u *unpacking) fromSource(ctx context.Context, b blobSpec, open OpenFunc) error {
	if open == nil {
		return fmt.Errorf("layer %s is not in the store: %w", b.digest, fs.ErrNotExist)
	}
	var err error
	u.res, err = u.im.s.receive(ctx, b, open, u.im.flush, func() (unpackFunc, error) { return u.unpacker(ctx) })
	return err
}

// finish seals and flushes what was unpacked and puts blob and tree in place.
func (u *unpacking) finish(ctx context.Context, b blobSpec, newBlob bool) error {
	h := &held{ref: u.ref}
	if u.needsLower != nil {
		u.im.s.log.Debug("layer has no tree of its own", "layer", b.digest, "reason", u.needsLower)
		h.needsLower = true
		if err := u.discard(); err != nil {
			return err
		}
	}
	if err := u.settle(ctx, b, newBlob, h); err != nil {
		return errors.Join(err, u.discard())
	}
	u.im.keep(u.id, h)
	return nil
}

// settle completes what was unpacked and puts blob and tree in place.
func (u *unpacking) settle(ctx context.Context, b blobSpec, newBlob bool, h *held) error {
	if u.dir != nil {
		h.source = u.scratchSource()
		if err := u.res.WriteIndex(ctx, h.source.Index); err != nil {
			return err
		}
		u.im.mu.Lock()
		u.im.dirs = append(u.im.dirs, u.dir)
		u.im.mu.Unlock()
		u.dir = nil
	}
	if u.draft != nil {
		if err := u.draft.Seal(ctx, Tree{DiffID: b.diffID.String()}, u.res); err != nil {
			return err
		}
	}
	if err := u.place(ctx, b, newBlob, h); err != nil {
		return err
	}
	return u.discard()
}

func (u *unpacking) place(ctx context.Context, b blobSpec, newBlob bool, h *held) error {
	if newBlob || u.draft != nil {
		if err := u.im.flush.flush(); err != nil {
			return err
		}
		if err := failpoint.Hit("fetch.blob-flushed"); err != nil {
			return err
		}
	}
	if newBlob {
		if err := u.im.s.keepBlob(b.digest); err != nil {
			return err
		}
	}
	if u.draft == nil {
		return nil
	}
	var err error
	if h.ref, err = u.draft.Place(ctx, u.replace); err != nil {
		return err
	}
	return failpoint.Hit("fetch.tree-placed")
}

// Close ends the import, committed or not: locks and scratch go. What was
// fetched stays for the next attempt until garbage is collected.
func (im *OCIImport) Close() error {
	im.work.Wait()
	im.flush.wait()
	im.mu.Lock()
	defer im.mu.Unlock()
	var errs []error
	for _, h := range im.layers {
		errs = append(errs, h.ref.Close())
	}
	for _, dir := range im.dirs {
		errs = append(errs, dir.Close())
	}
	for _, l := range im.holds {
		errs = append(errs, l.Close())
	}
	im.layers, im.dirs, im.holds = nil, nil, nil
	return errors.Join(errs...)
}
