// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/layer"
)

// fakeStore keeps images in memory and verifies what the real one verifies.
type fakeStore struct {
	dir string

	mu       sync.Mutex
	images   map[appc.ImageID]*fakeImage
	remotes  map[string]Remote
	layers   map[string][]byte // by digest
	partials map[string][]byte // by digest
	imports  int
	opened   map[string][]int64 // offsets asked for, by digest
	active   int
	most     int // layers at once
}

type fakeImage struct {
	manifest *appc.ImageManifest
	size     int64
	latest   bool
	oci      *OCIImage
	verified *Verification
}

func newFakeStore(t *testing.T) *fakeStore {
	return &fakeStore{
		dir: t.TempDir(), images: map[appc.ImageID]*fakeImage{}, remotes: map[string]Remote{},
		layers: map[string][]byte{}, partials: map[string][]byte{}, opened: map[string][]int64{},
	}
}

func (s *fakeStore) TempDir() string { return s.dir }

func (s *fakeStore) Resolve(prefix string) (appc.ImageID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.images {
		if id.HasPrefix(appc.ImageID(prefix)) {
			return id, nil
		}
	}
	return "", errors.New("no image IDs found")
}

func (s *fakeStore) Find(name appc.Identifier, labels appc.Labels) (appc.ImageID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, i := range s.images {
		if i.manifest.Name == name && !slices.ContainsFunc(labels, func(l appc.Label) bool {
			v, ok := i.manifest.Labels.Get(l.Name.String())
			return !ok || v != l.Value
		}) {
			return id, nil
		}
	}
	return "", fmt.Errorf("cannot find aci: %w", ErrNotFound)
}

func (s *fakeStore) Manifest(id appc.ImageID) (*appc.ImageManifest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.images[id]; ok {
		return i.manifest, nil
	}
	return nil, ErrNotFound
}

func (s *fakeStore) Size(id appc.ImageID) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.images[id].size, nil
}

func (s *fakeStore) Remote(url string) (Remote, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.remotes[url]
	return r, ok && s.images[r.Key] != nil, nil
}

func (s *fakeStore) RefreshRemote(r Remote) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.images[r.Key] == nil {
		return ErrNotFound
	}
	s.remotes[r.URL] = r
	return nil
}

func (s *fakeStore) SetVerified(id appc.ImageID, v *Verification) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images[id].verified = v
	return nil
}

func (s *fakeStore) add(id appc.ImageID, i *fakeImage, r *Remote) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images[id] = i
	s.imports++
	if r != nil {
		r := *r
		r.Key = id
		s.remotes[r.URL] = r
	}
}

func (s *fakeStore) ImportACI(_ context.Context, r io.Reader, o ImportOptions) (appc.ImageID, error) {
	var raw bytes.Buffer
	plain, _, err := compression.NewReader(io.TeeReader(r, &raw))
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(plain)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(&raw, r); err != nil {
		return "", err
	}
	m, _, err := aci.ManifestFrom(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	sum := sha512.Sum512(data)
	id := appc.ImageIDFromSum(sum[:]).Key()
	var verified *Verification
	if o.Accept != nil {
		if verified, err = o.Accept(m); err != nil {
			return "", err
		}
	}
	if o.Adopt != "" {
		adopted, err := os.ReadFile(o.Adopt)
		if err != nil || !bytes.Equal(adopted, raw.Bytes()) {
			return "", fmt.Errorf("adopted file has %d bytes, not %d: %w", len(adopted), raw.Len(), err)
		}
		if err := os.Rename(o.Adopt, filepath.Join(s.dir, "blob-"+string(id))); err != nil {
			return "", err
		}
	}
	s.add(id, &fakeImage{manifest: m, size: int64(len(data)), latest: o.Latest, verified: verified}, o.Remote)
	return id, nil
}

func (s *fakeStore) FindOCI(_ context.Context, url, digest string) (appc.ImageID, bool, error) {
	r, ok, err := s.Remote(url)
	return r.Key, ok && r.ManifestDigest == digest, err
}

func (s *fakeStore) BeginOCI(context.Context) (OCIImport, error) { return &fakeImport{s: s}, nil }

type fakeImport struct{ s *fakeStore }

func (f *fakeImport) Close() error { return nil }

func (f *fakeImport) PutLayer(ctx context.Context, d layer.Descriptor, open func(context.Context, int64) (io.ReadCloser, error)) error {
	s := f.s
	s.mu.Lock()
	_, have := s.layers[d.Digest]
	part := s.partials[d.Digest]
	s.active++
	s.most = max(s.most, s.active)
	if !have {
		s.opened[d.Digest] = append(s.opened[d.Digest], int64(len(part)))
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.active--
		s.mu.Unlock()
	}()
	if have {
		return nil
	}
	in, err := open(ctx, int64(len(part)))
	if err != nil {
		return err
	}
	defer in.Close()
	rest, err := io.ReadAll(in)
	data := slices.Concat(part, rest)
	if err != nil {
		s.mu.Lock()
		s.partials[d.Digest] = data
		s.mu.Unlock()
		return err
	}
	if err := verifyLayer(d, data); err != nil {
		return err
	}
	s.mu.Lock()
	s.layers[d.Digest] = data
	s.mu.Unlock()
	return nil
}

func verifyLayer(d layer.Descriptor, data []byte) error {
	if int64(len(data)) != d.Size {
		return fmt.Errorf("size %d, not %d", len(data), d.Size)
	}
	if err := checkDigest(d.Digest, data); err != nil {
		return err
	}
	plain, _, err := compression.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	content, err := io.ReadAll(plain)
	if err != nil {
		return err
	}
	return checkDigest(d.DiffID, content)
}

func (f *fakeImport) Commit(_ context.Context, image OCIImage) (appc.ImageID, error) {
	for _, l := range image.Layers {
		if f.s.layers[l.Digest] == nil {
			return "", fmt.Errorf("layer %s was not put", l.Digest)
		}
	}
	if err := checkDigest(image.ManifestDigest, image.RawManifest); err != nil {
		return "", err
	}
	m, err := image.Manifest.Marshal()
	if err != nil {
		return "", err
	}
	sum := sha512.Sum512(append(m, image.ManifestDigest...))
	id := appc.ImageIDFromSum(sum[:]).Key()
	f.s.add(id, &fakeImage{manifest: image.Manifest, latest: image.Latest, oci: &image, verified: image.Verified}, image.Remote)
	return id, nil
}

// leftovers are the files in the temporary directory that belong to no image.
func (s *fakeStore) leftovers(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "blob-") {
			names = append(names, e.Name())
		}
	}
	return names
}

// fetcher is a Fetcher for tests that writes to the returned buffer and does
// not sleep.
func fetcher(s Store) (*Fetcher, *output) {
	out := &output{}
	return &Fetcher{
		Store: s, Insecure: Insecure{Image: true}, Stderr: out, Debug: true,
		sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}, out
}

// output is a buffer for several writers.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) has(t *testing.T, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(o.String(), l+"\n") {
			t.Errorf("output lacks %q:\n%s", l, o)
		}
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("got error %q; want %q in it", err, p)
		}
	}
}
