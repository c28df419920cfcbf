// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"bufio"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// ImportOptions say what is known about an archive.
type ImportOptions struct {
	Latest bool    // fetched without asking for a version
	Remote *Remote // where it came from; the key is filled in
	// Adopt is a file in TempDir that holds exactly the bytes read from the reader
	// when that is at its end. It is renamed into the store instead of
	// being copied; it is gone after a successful import.
	Adopt string
	// WantID is the full ID, key or abbreviation the archive must have.
	WantID appc.ImageID
	// Accept, if set, is asked once all of the archive was read and before anything
	// of it is kept. What it returns is recorded with the image.
	Accept func(*appc.ImageManifest) (*Verification, error)
}

// IDError tells that an archive is not the image it should be.
type IDError struct{ Got, Want appc.ImageID }

func (e *IDError) Error() string {
	return fmt.Sprintf("image hash does not match expected (%s != %s)", e.Got, e.Want)
}

// ImportACI reads an archive, compressed or not, to its end, verifies its
// layout and manifest, and stores it. With a tree sink it is unpacked at the
// same time. r may be nil if Adopt names the file. An image that is there
// already is refreshed as if it were new.
func (s *Store) ImportACI(ctx context.Context, r io.Reader, o ImportOptions) (appc.ImageID, error) {
	im := &aciImport{s: s, o: o, flush: newFlusher(s.dir)}
	id, err := im.run(ctx, r)
	im.flush.wait()
	if err := errors.Join(err, im.clean()); err != nil {
		return "", err
	}
	return id, nil
}

// aciImport is one ImportACI.
type aciImport struct {
	s     *Store
	o     ImportOptions
	flush *flusher
	tmp   *scratch // the bytes, unless they are adopted
	draft Draft

	id       appc.ImageID
	manifest *appc.ImageManifest
	data     []byte // manifest, canonical
	size     int64
	res      *layer.Result
	verified *Verification
}

func (im *aciImport) run(ctx context.Context, r io.Reader) (appc.ImageID, error) {
	src, done, err := im.source(ctx, r)
	if err != nil {
		return "", fmt.Errorf("error copying image: %w", err)
	}
	err = errors.Join(im.read(ctx, src), done())
	if err != nil {
		return "", err
	}
	if w := im.o.WantID; w != "" && !hasID(im.id, w) {
		return "", &IDError{Got: im.id, Want: w}
	}
	if im.o.Accept != nil {
		if im.verified, err = im.o.Accept(im.manifest); err != nil {
			return "", err
		}
	}
	// Trees with dependencies are rendered from all their images.
	if im.draft != nil && (len(im.manifest.Dependencies) > 0 || len(im.manifest.PathWhitelist) > 0) {
		if err := im.draft.Discard(); err != nil {
			return "", err
		}
		im.draft = nil
	}
	if err := im.s.commit(ctx, im); err != nil {
		return "", fmt.Errorf("error importing image: %w", err)
	}
	return im.id, nil
}

// hasID tells whether id is meant by want, of which a full ID counts in full.
func hasID(id, want appc.ImageID) bool {
	if want.IsFull() {
		return id == want
	}
	return id.HasPrefix(want)
}

// source prepares the reading of the archive and the keeping of its bytes.
// done ends both.
func (im *aciImport) source(ctx context.Context, r io.Reader) (src io.Reader, done func() error, err error) {
	nothing := func() error { return nil }
	if im.o.Adopt != "" {
		if filepath.Dir(filepath.Clean(im.o.Adopt)) != im.s.TempDir() {
			return nil, nil, fmt.Errorf("%s is not in %s", im.o.Adopt, im.s.TempDir())
		}
		if r != nil {
			return r, nothing, nil
		}
		f, err := os.Open(im.o.Adopt)
		if err != nil {
			return nil, nil, err
		}
		return f, f.Close, nil
	}
	if im.tmp, err = im.s.newScratch(ctx, false); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(im.tmp.path, os.O_WRONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	return io.TeeReader(r, io.MultiWriter(f, im.flush)), f.Close, nil
}

// read takes everything out of the stream that it can tell.
func (im *aciImport) read(ctx context.Context, src io.Reader) error {
	var unpack unpackFunc
	if im.s.trees != nil {
		draft, err := im.s.trees.Draft(ctx)
		if err != nil {
			return err
		}
		im.draft = draft
		unpack = func(ctx context.Context, r io.Reader) (*layer.Result, error) {
			return layer.Unpack(ctx, io.TeeReader(r, im.flush), draft.Rootfs(), layer.UnpackOptions{ACI: true, Limits: im.s.limits})
		}
	} else {
		unpack = im.validate
	}
	out := &meter{h: sha512.New(), max: streamCap(im.s.limits), what: "bytes in its stream"}
	res, err := decompressed(ctx, src, out, onlyTar(unpack), func() {})
	if err != nil {
		return fmt.Errorf("error extracting ACI: %w", err)
	}
	im.id, im.size, im.res = appc.ImageIDFromSum(out.h.Sum(nil)), out.n, res
	if im.manifest == nil {
		if im.manifest, err = appc.ParseImageManifest(res.Manifest); err != nil {
			return fmt.Errorf("image manifest validation failed: %w", err)
		}
	}
	im.data, err = im.manifest.Marshal()
	return err
}

// validate checks the layout without unpacking anything.
func (im *aciImport) validate(ctx context.Context, r io.Reader) (*layer.Result, error) {
	m, err := aci.Validate(r)
	if err != nil {
		return nil, err
	}
	im.manifest = m
	return discard(ctx, r)
}

// onlyTar is unpack for what is a tar; anything else is named as such.
func onlyTar(unpack unpackFunc) unpackFunc {
	return func(ctx context.Context, r io.Reader) (*layer.Result, error) {
		br := bufio.NewReaderSize(r, compression.HeadSize)
		head, err := br.Peek(compression.HeadSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if kind := compression.Detect(head); kind != compression.None {
			return nil, fmt.Errorf("the archive is compressed twice, inside with %s", kind)
		}
		if !compression.IsTar(head) {
			return nil, aci.ErrUnknownType
		}
		return unpack(ctx, br)
	}
}

// clean removes what was not used.
func (im *aciImport) clean() error {
	var errs []error
	if im.tmp != nil {
		errs = append(errs, im.tmp.Close())
	}
	if im.draft != nil {
		errs = append(errs, im.draft.Discard())
	}
	return errors.Join(errs...)
}

// bytesAt is the file with the archive as it was received.
func (im *aciImport) bytesAt() string {
	if im.o.Adopt != "" {
		return im.o.Adopt
	}
	return im.tmp.path
}

// commit makes the image exist: blob, manifest, tree, record, row.
func (s *Store) commit(ctx context.Context, im *aciImport) error {
	key := im.id.Key()
	l, err := s.keyLock(ctx, string(key), lock.Exclusive)
	if err != nil {
		return fmt.Errorf("error locking image: %w", err)
	}
	defer func() { _ = l.Close() }()
	rec := s.existing(key)
	isNew := rec == nil
	if isNew {
		rec = &Record{Version: recordVersion, Kind: ACI}
	}
	rec.ID, rec.Name, rec.Labels, rec.Size = im.id, im.manifest.Name, im.manifest.Labels, im.size
	if im.verified != nil {
		rec.Verified = im.verified // by an earlier import stays: it is the same image
	}
	if im.draft != nil && rec.Kind == ACI {
		if err := im.draft.Seal(ctx, Tree{Image: key, Manifest: im.data}, im.res); err != nil {
			return err
		}
	}
	if err := s.writeManifest(key, im.data); err != nil {
		return err
	}
	if err := im.place(isNew); err != nil {
		return err
	}
	var treeSize int64
	if im.draft != nil && rec.Kind == ACI {
		if treeSize, err = s.placeDraft(ctx, im.draft); err != nil {
			return err
		}
	}
	if err := im.flush.flush(); err != nil {
		return err
	}
	if err := failpoint.Hit("fetch.flushed"); err != nil {
		return err
	}
	return s.register(ctx, rec, registration{latest: im.o.Latest, remote: im.o.Remote, treeSize: treeSize})
}

// existing returns the record of an image that is complete, nil if there is
// none or something of it is missing.
func (s *Store) existing(key appc.ImageID) *Record {
	rec, err := s.readRecord(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.log.Warn("replacing an unreadable image record", "image", key, "error", err)
		return nil
	}
	if !s.complete(rec) {
		return nil
	}
	return rec
}

// place flushes what was written and moves the bytes of a new image to their
// name; those of an old one are there.
func (im *aciImport) place(isNew bool) error {
	from, to := im.bytesAt(), im.s.aciPath(im.id.Key())
	if err := os.Chmod(from, fileMode); err != nil {
		return err
	}
	if err := im.flush.flush(); err != nil {
		return err
	}
	if err := failpoint.Hit("fetch.blob-flushed"); err != nil {
		return err
	}
	if !isNew {
		return im.dropAdopted()
	}
	if err := inShard(to, func() error { return os.Rename(from, to) }); err != nil {
		return err
	}
	return failpoint.Hit("fetch.blob-renamed")
}

func (im *aciImport) dropAdopted() error {
	if im.o.Adopt == "" {
		return nil
	}
	err := os.Remove(im.o.Adopt)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// placeDraft puts a draft that was sealed and flushed into its place.
func (s *Store) placeDraft(ctx context.Context, d Draft) (int64, error) {
	ref, err := d.Place(ctx, false)
	if err != nil {
		return 0, err
	}
	size := ref.Size
	if err := ref.Close(); err != nil {
		return 0, err
	}
	return size, failpoint.Hit("fetch.tree-placed")
}

// writeManifest writes the manifest file; the caller flushes.
func (s *Store) writeManifest(key appc.ImageID, data []byte) error {
	path := s.manifestPath(key)
	if err := inShard(path, func() error { return atomicfile.WriteNoSync(path, data, fileMode) }); err != nil {
		return fmt.Errorf("error importing image manifest: %w", err)
	}
	return failpoint.Hit("fetch.manifest")
}

// registration is what a new import says about an image, old or new.
type registration struct {
	latest   bool
	remote   *Remote
	treeSize int64
}

// register writes record and row. Everything the record needs is on disk. The
// caller holds the key's lock.
func (s *Store) register(ctx context.Context, rec *Record, g registration) error {
	key := rec.ID.Key()
	rec.Imported, rec.Latest = time.Now().UTC().Round(0), g.latest
	var remote remoteRow
	if g.remote != nil {
		remote = remoteRow{key: key, RemoteRecord: g.remote.record()}
		rec.setRemote(remote.RemoteRecord)
	}
	if err := s.writeRecord(rec); err != nil {
		return err
	}
	if err := failpoint.Hit("fetch.record"); err != nil {
		return err
	}
	var former appc.ImageID
	err := s.index.update(ctx, func(t *tx) error {
		former = ""
		if err := t.putImage(rowOf(rec, g.treeSize)); err != nil {
			return err
		}
		for _, rr := range rec.Remotes {
			if g.remote != nil && rr.URL == g.remote.URL {
				old, ok, err := t.remote(rr.URL)
				if err != nil {
					return err
				}
				if ok && old.key != key {
					former = old.key
				}
				if err := t.putRemote(remote); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("error writing ACI Info: %w", err)
	}
	if err := failpoint.Hit("fetch.row"); err != nil {
		return err
	}
	if former != "" {
		s.forgetRemote(former, g.remote.URL)
	}
	return nil
}
