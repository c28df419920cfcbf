// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/layer"
)

// blobSpec is a layer descriptor that was checked.
type blobSpec struct {
	digest digest
	diffID digest
	size   int64 // -1: unknown
	d      layer.Descriptor
}

func specOf(d layer.Descriptor) (blobSpec, error) {
	dg, err := parseDigest(d.Digest)
	if err != nil {
		return blobSpec{}, fmt.Errorf("layer: %w", err)
	}
	diff, err := parseDigest(d.DiffID)
	if err != nil {
		return blobSpec{}, fmt.Errorf("layer %s: uncompressed %w", d.Digest, err)
	}
	return blobSpec{digest: dg, diffID: diff, size: d.Size, d: d}, nil
}

// hasBlob tells whether a blob is there with the size it should have.
func (s *Store) hasBlob(b blobSpec) bool {
	st, err := os.Lstat(s.blobPath(b.digest))
	return err == nil && st.Mode().IsRegular() && (b.size < 0 || st.Size() == b.size)
}

// OpenFunc returns the bytes of a blob from offset on.
type OpenFunc func(ctx context.Context, offset int64) (io.ReadCloser, error)

// receive streams a blob through the partial file: first what an earlier
// attempt left in it, then the rest from open, appended. Everything is
// verified and, uncompressed, given to unpack. The file is complete afterwards.
// A partial file that turns out to be wrong is dropped and everything fetched anew, once.
func (s *Store) receive(ctx context.Context, b blobSpec, open OpenFunc, f *flusher, unpack func() (unpackFunc, error)) (*layer.Result, error) {
	path := s.partialPath(b.digest)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	_ = file.Chmod(fileMode) // somebody else's file: done already
	for {
		have, err := usable(file, b)
		if err != nil {
			return nil, err
		}
		consume, err := unpack()
		if err != nil {
			return nil, err
		}
		res, err := s.attempt(ctx, b, &resumed{file: file, have: have, size: b.size, open: open, flush: f}, consume)
		if err == nil {
			return res, failpoint.Hit("fetch.blob-partial")
		}
		if isSourceError(err) || isMachineError(err) {
			return nil, err // what is there serves the next attempt
		}
		if terr := file.Truncate(0); terr != nil {
			return nil, errors.Join(err, terr)
		}
		if have == 0 || open == nil {
			return nil, errors.Join(err, os.Remove(path))
		}
		s.log.Info("what was kept of a broken download is of no use, fetching from the start", "blob", b.digest, "error", err)
	}
}

// attempt runs one stream. When the consumer fails, the source is cancelled:
// it may be waiting for the network.
func (s *Store) attempt(ctx context.Context, b blobSpec, src *resumed, consume unpackFunc) (*layer.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	src.ctx = ctx
	res, err := s.stream(ctx, src, b, consume, cancel)
	if src.failed != nil {
		err = src.failed // whatever it led to
	}
	src.close()
	return res, err
}

// usable is how many bytes of a partial file may be used.
func usable(file *os.File, b blobSpec) (int64, error) {
	st, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if b.size >= 0 && st.Size() > b.size {
		return 0, file.Truncate(0)
	}
	return st.Size(), nil
}

// stream verifies digest, size and diff ID of src while unpack consumes it.
func (s *Store) stream(ctx context.Context, src io.Reader, b blobSpec, unpack unpackFunc, abort func()) (*layer.Result, error) {
	in := &meter{r: src, h: b.digest.newHash(), max: b.size, what: "bytes than its descriptor says, that is"}
	if b.size <= 0 {
		in.max = streamCap(s.limits)
	}
	out := &meter{h: b.diffID.newHash(), max: streamCap(s.limits), what: "bytes in its stream"}
	var res *layer.Result
	var err error
	if b.size == 0 {
		res, err = unpack(ctx, emptyTar(out)) // images.md 9.5: treated as empty
	} else {
		res, err = decompressed(ctx, in, out, unpack, abort)
	}
	if err := checkBlob(in, b, err); err != nil {
		return nil, err
	}
	if err := b.diffID.check("uncompressed content of layer "+b.digest.String(), out.h); err != nil {
		return nil, err
	}
	return res, nil
}

// checkBlob compares size and digest; err is what reading ended with.
func checkBlob(in *meter, b blobSpec, err error) error {
	if err != nil {
		return fmt.Errorf("layer %s: %w", b.digest, err)
	}
	if b.size >= 0 && in.n != b.size {
		return fmt.Errorf("layer %s has %d bytes, its descriptor says %d", b.digest, in.n, b.size)
	}
	return b.digest.check("layer", in.h)
}

// emptyTar is what a blob of no bytes unpacks to.
func emptyTar(out *meter) io.Reader {
	out.r = eofReader{}
	return out
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// resumed reads a partial file and then what is missing, which it appends.
type resumed struct {
	ctx    context.Context //nolint:containedctx // lives as long as one attempt
	file   *os.File
	have   int64 // bytes in the file at the start
	size   int64 // bytes in all, negative: unknown
	read   int64
	open   OpenFunc
	rest   io.ReadCloser
	flush  *flusher
	failed error // of the source or of writing the file
}

func (r *resumed) Read(p []byte) (int, error) {
	if r.read < r.have {
		n, err := r.file.ReadAt(p[:min(int64(len(p)), r.have-r.read)], r.read)
		r.read += int64(n)
		if errors.Is(err, io.EOF) && n > 0 {
			err = nil
		}
		return n, err
	}
	if r.open == nil || r.size >= 0 && r.read == r.size {
		return 0, io.EOF
	}
	n, err := r.receive(p)
	if errors.Is(err, io.EOF) && r.read < r.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.failed = &sourceError{err}
		return n, r.failed
	}
	return n, err
}

// receive reads from the source and appends to the file.
func (r *resumed) receive(p []byte) (int, error) {
	if r.rest == nil {
		rest, err := r.open(r.ctx, r.have)
		if err != nil {
			return 0, err
		}
		r.rest = rest
	}
	n, err := r.rest.Read(p)
	if n == 0 {
		return 0, err
	}
	if _, werr := r.file.WriteAt(p[:n], r.read); werr != nil {
		return 0, werr
	}
	r.read += int64(n)
	r.flush.wrote(n)
	return n, err
}

func (r *resumed) close() {
	if r.rest != nil {
		_ = r.rest.Close() // everything that matters was read
	}
}

// keepBlob moves a verified partial file to its name. It is flushed.
func (s *Store) keepBlob(b digest) error {
	from, to := s.partialPath(b), s.blobPath(b)
	if err := inShard(to, func() error { return os.Rename(from, to) }); err != nil {
		return err
	}
	return failpoint.Hit("fetch.blob-renamed")
}

// readBlob verifies a stored blob and gives its content to unpack.
func (s *Store) readBlob(ctx context.Context, b blobSpec, unpack unpackFunc) (*layer.Result, error) {
	f, err := os.Open(s.blobPath(b.digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("layer %s is not in the store: %w", b.digest, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return s.stream(ctx, f, b, unpack, func() {})
}
