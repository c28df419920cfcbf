// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// Store is what the contract is about.
type Store interface {
	Resolve(prefix string) (appc.ImageID, error)
	Find(name appc.Identifier, labels appc.Labels) (appc.ImageID, error)
	Manifest(id appc.ImageID) (*appc.ImageManifest, error)
	Record(id appc.ImageID) (*imagestore.Record, error)
	List(ctx context.Context) ([]imagestore.Info, error)
	Touch(id appc.ImageID) error

	Remote(url string) (imagestore.Remote, bool, error)
	RefreshRemote(r imagestore.Remote) error

	ImportACI(ctx context.Context, r io.Reader, o imagestore.ImportOptions) (appc.ImageID, error)
	BeginOCI(ctx context.Context) (*imagestore.OCIImport, error)
	FindOCI(ctx context.Context, url, manifestDigest string) (appc.ImageID, bool, error)

	WriteACI(ctx context.Context, id appc.ImageID, w io.Writer) error
	Remove(ctx context.Context, id appc.ImageID) error
	GC(ctx context.Context, o imagestore.GCOptions) (*imagestore.GCReport, error)
	Fsck(ctx context.Context, repair bool) (*imagestore.Report, error)
}

// Run checks the contract. open gives a new, empty store for each test, which
// it closes in a cleanup.
func Run(t *testing.T, open func(t *testing.T) Store) {
	tests := []struct {
		name string
		fn   func(t *testing.T, s Store)
	}{
		{"empty store", emptyStore},
		{"import plain and compressed", importPlain},
		{"import again refreshes", importAgain},
		{"wanted ID", wantID},
		{"bad archives", badArchives},
		{"resolve", resolve},
		{"find by name and labels", find},
		{"remotes", remotes},
		{"touch", touch},
		{"remove", remove},
		{"OCI round trip", ociRoundTrip},
		{"OCI shares layers", ociShares},
		{"OCI same layer twice", ociTwice},
		{"OCI resumes", ociResumes},
		{"OCI refuses what does not fit", ociRefuses},
		{"OCI exported and imported as ACI", ociAsACI},
		{"OCI abandoned import is garbage", ociAbandoned},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			tt.fn(t, s)
			report, err := s.Fsck(t.Context(), false)
			must(t, err)
			if !report.Clean() {
				t.Errorf("store is not clean afterwards: %+v", report.Problems)
			}
		})
	}
}

func emptyStore(t *testing.T, s Store) {
	list, err := s.List(t.Context())
	must(t, err)
	if len(list) != 0 {
		t.Errorf("List of an empty store: %v", list)
	}
	key := ID([]byte("no such image")).Key()
	if _, err := s.Resolve(string(key)); !errors.Is(err, imagestore.ErrNoMatch) {
		t.Errorf("Resolve: %v", err)
	}
	if _, err := s.Manifest(key); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("Manifest: %v", err)
	}
	err = s.Remove(t.Context(), key)
	if want := "cannot find image with key: " + string(key); err == nil || err.Error() != want {
		t.Errorf("Remove: %v, want %q", err, want)
	}
	_, err = s.Find("example.com/x", appc.Labels{{Name: "version", Value: "1"}})
	want := `cannot find aci satisfying name: "example.com/x" and labels: [{"version" "1"}] in the local store`
	if err == nil || err.Error() != want {
		t.Errorf("Find: %v, want %q", err, want)
	}
	if err := s.Touch(key); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("Touch: %v", err)
	}
	if err := s.WriteACI(t.Context(), key, io.Discard); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("WriteACI: %v", err)
	}
}

func importBytes(t *testing.T, s Store, data []byte, o imagestore.ImportOptions) appc.ImageID {
	t.Helper()
	id, err := s.ImportACI(t.Context(), bytes.NewReader(data), o)
	must(t, err)
	return id
}

func export(t *testing.T, s Store, id appc.ImageID) []byte {
	t.Helper()
	var buf bytes.Buffer
	must(t, s.WriteACI(t.Context(), id, &buf))
	return buf.Bytes()
}

func importPlain(t *testing.T, s Store) {
	m := Manifest("example.com/app", "arch", "amd64", "os", "linux", "version", "1.0")
	data := ACI(t, m, File{Name: "etc/"}, File{Name: "etc/motd", Content: "hello"})
	for _, in := range [][]byte{data, Gzip(t, data)} {
		id := importBytes(t, s, in, imagestore.ImportOptions{})
		if id != ID(data) {
			t.Fatalf("ImportACI = %s, want %s", id, ID(data))
		}
		if out := export(t, s, id); !bytes.Equal(out, data) {
			t.Errorf("WriteACI gave %d bytes, not the %d that were imported", len(out), len(data))
		}
	}
	got, err := s.Manifest(ID(data))
	must(t, err)
	if got.Name != m.Name || len(got.Labels) != 3 {
		t.Errorf("Manifest = %+v", got)
	}
	list, err := s.List(t.Context())
	must(t, err)
	if len(list) != 1 || list[0].ID != ID(data).Key() || list[0].Name != m.Name || list[0].Size < int64(len(data)) || list[0].Kind != imagestore.ACI {
		t.Errorf("List = %+v", list)
	}
	rec, err := s.Record(ID(data))
	must(t, err)
	if rec.ID != ID(data) || rec.Size != int64(len(data)) {
		t.Errorf("Record = %+v", rec)
	}
}

func importAgain(t *testing.T, s Store) {
	data := ACI(t, Manifest("example.com/app"))
	before := time.Now()
	id := importBytes(t, s, data, imagestore.ImportOptions{Latest: true, Remote: &imagestore.Remote{URL: "http://x/1.aci"}})
	first := only(t, s)
	if !first.Latest || first.ImportTime.Before(before) {
		t.Errorf("first import: %+v", first)
	}
	if again := importBytes(t, s, Gzip(t, data), imagestore.ImportOptions{Remote: &imagestore.Remote{URL: "http://x/2.aci"}}); again != id {
		t.Errorf("second import: %s, want %s", again, id)
	}
	second := only(t, s)
	if second.Latest || !second.ImportTime.After(first.ImportTime) || second.Size != first.Size {
		t.Errorf("second import: %+v, first was %+v", second, first)
	}
	for _, url := range []string{"http://x/1.aci", "http://x/2.aci"} {
		if r, ok, err := s.Remote(url); err != nil || !ok || r.Key != id.Key() {
			t.Errorf("Remote(%s) = %+v, %t, %v", url, r, ok, err)
		}
	}
}

func only(t *testing.T, s Store) imagestore.Info {
	t.Helper()
	list, err := s.List(t.Context())
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("List = %+v, want one image", list)
	}
	return list[0]
}

func wantID(t *testing.T, s Store) {
	data := ACI(t, Manifest("example.com/app"))
	other := ID([]byte("other"))
	for _, want := range []appc.ImageID{other, other.Key(), other[:20]} {
		_, err := s.ImportACI(t.Context(), bytes.NewReader(data), imagestore.ImportOptions{WantID: want})
		var ie *imagestore.IDError
		if !errors.As(err, &ie) {
			t.Errorf("WantID %s: %v", want, err)
		}
	}
	// A full ID counts in full, not only its key.
	wrong := ID(data).Key() + other[len(other.Key()):]
	if _, err := s.ImportACI(t.Context(), bytes.NewReader(data), imagestore.ImportOptions{WantID: wrong}); err == nil {
		t.Error("an ID with another second half was accepted")
	}
	importBytes(t, s, data, imagestore.ImportOptions{WantID: ID(data)[:15]})
}

func badArchives(t *testing.T, s Store) {
	good := ACI(t, Manifest("example.com/app"), File{Name: "a", Content: "a"})
	zipped := Gzip(t, good)
	tests := map[string][]byte{
		"empty":              {},
		"no tar":             bytes.Repeat([]byte("text "), 500),
		"no manifest":        Tar(t, File{Name: "rootfs/"}),
		"no rootfs":          Tar(t, File{Name: "manifest", Content: `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a"}`}),
		"bad manifest":       Tar(t, File{Name: "manifest", Content: "{"}, File{Name: "rootfs/"}),
		"other kind":         Tar(t, File{Name: "manifest", Content: `{"acKind":"PodManifest","acVersion":"0.8.11"}`}, File{Name: "rootfs/"}),
		"duplicate":          Tar(t, append(simple(t), File{Name: "rootfs/a"})...),
		"outside":            Tar(t, append(simple(t), File{Name: "etc/passwd"})...),
		"climbing":           Tar(t, append(simple(t), File{Name: "rootfs/../../x"})...),
		"truncated":          good[:len(good)/2],
		"truncated and gzip": zipped[:len(zipped)-20],
		"bad checksum":       append(bytes.Clone(zipped[:len(zipped)-8]), 1, 2, 3, 4, 5, 6, 7, 8),
	}
	for name, data := range tests {
		if id, err := s.ImportACI(t.Context(), bytes.NewReader(data), imagestore.ImportOptions{}); err == nil {
			t.Errorf("%s: imported as %s", name, id)
		}
	}
	broken := errors.New("network is gone")
	_, err := s.ImportACI(t.Context(), io.MultiReader(bytes.NewReader(good[:600]), iotest.ErrReader(broken)), imagestore.ImportOptions{})
	if !errors.Is(err, broken) {
		t.Errorf("broken source: %v", err)
	}
	list, err := s.List(t.Context())
	must(t, err)
	if len(list) != 0 {
		t.Errorf("bad archives became images: %+v", list)
	}
	nothingLeft(t, s)
}

// simple is the files of a simple ACI, to add to.
func simple(t *testing.T) []File {
	t.Helper()
	data, err := Manifest("example.com/app").Marshal()
	must(t, err)
	return []File{{Name: "manifest", Content: string(data)}, {Name: "rootfs/"}, {Name: "rootfs/a", Content: "a"}}
}

// nothingLeft fails if there is any garbage.
func nothingLeft(t *testing.T, s Store) {
	t.Helper()
	g, err := s.GC(t.Context(), imagestore.GCOptions{})
	must(t, err)
	if len(g.Temporary)+len(g.Blobs)+len(g.Manifests)+len(g.Rows) != 0 {
		t.Errorf("garbage was left: %+v", g)
	}
}

func resolve(t *testing.T, s Store) {
	id := importBytes(t, s, ACI(t, Manifest("example.com/app")), imagestore.ImportOptions{})
	for _, prefix := range []string{string(id), string(id.Key()), string(id[:9]), string(id[:40])} {
		if got, err := s.Resolve(prefix); err != nil || got != id.Key() {
			t.Errorf("Resolve(%s) = %s, %v", prefix, got, err)
		}
	}
	for prefix, want := range map[string]string{
		"":                    "wrong key prefix",
		"sha256-abcd":         "wrong key prefix",
		"sha512-":             "image ID too short",
		"sha512-a":            "image ID too short",
		"sha512-../../../..":  "no image IDs found",
		"sha512-zz":           "no image IDs found",
		string(id[:20]) + "/": "no image IDs found",
	} {
		if _, err := s.Resolve(prefix); err == nil || err.Error() != want {
			t.Errorf("Resolve(%q): %v, want %q", prefix, err, want)
		}
	}
	// Two images whose IDs begin alike: with 256 beginnings there soon are.
	seen := map[appc.ImageID]bool{id[:9]: true}
	for i := 0; ; i++ {
		other := importBytes(t, s, ACI(t, Manifest("example.com/app"), File{Name: strconv.Itoa(i)}), imagestore.ImportOptions{})
		if !seen[other[:9]] {
			seen[other[:9]] = true
			continue
		}
		prefix := string(other[:9])
		if _, err := s.Resolve(prefix); err == nil || err.Error() != `ambiguous image ID: "`+prefix+`"` {
			t.Errorf("Resolve(%s): %v", prefix, err)
		}
		return
	}
}

func find(t *testing.T, s Store) {
	put := func(latest bool, content string, labels ...string) appc.ImageID {
		return importBytes(t, s, ACI(t, Manifest("example.com/app", labels...), File{Name: "f", Content: content}), imagestore.ImportOptions{Latest: latest}).Key()
	}
	v1 := put(false, "a", "os", "linux", "version", "1")
	latest := put(true, "b", "os", "linux", "version", "2")
	v3 := put(false, "c", "version", "3")
	newer1 := put(false, "d", "version", "1")
	for _, tt := range []struct {
		name   string
		labels appc.Labels
		want   appc.ImageID
	}{
		{"latest wins over newer", nil, latest},
		{"newest of a version", appc.Labels{{Name: "version", Value: "1"}}, newer1},
		{"all labels count", appc.Labels{{Name: "os", Value: "linux"}, {Name: "version", Value: "1"}}, v1},
		{"version 3", appc.Labels{{Name: "version", Value: "3"}}, v3},
		{"no such version", appc.Labels{{Name: "version", Value: "4"}}, ""},
		{"no such label", appc.Labels{{Name: "arch", Value: ""}}, ""},
	} {
		got, err := s.Find("example.com/app", tt.labels)
		if got != tt.want || (tt.want == "") != errors.Is(err, imagestore.ErrNotFound) {
			t.Errorf("%s: %s, %v; want %s", tt.name, got, err, tt.want)
		}
	}
	if _, err := s.Find("example.com/ap", nil); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("a part of a name was found: %v", err)
	}
}

func remotes(t *testing.T, s Store) {
	a := importBytes(t, s, ACI(t, Manifest("example.com/a")), imagestore.ImportOptions{
		Remote: &imagestore.Remote{URL: "https://x/app.aci", ETag: `"1"`, MaxAge: time.Minute, SigURL: "https://x/app.aci.asc"},
	})
	r, ok, err := s.Remote("https://x/app.aci")
	must(t, err)
	if !ok || r.Key != a.Key() || r.ETag != `"1"` || r.MaxAge != time.Minute || r.SigURL != "https://x/app.aci.asc" {
		t.Errorf("Remote = %+v, %t", r, ok)
	}
	r.MaxAge, r.Downloaded = time.Hour, time.Unix(1_700_000_000, 5).UTC()
	must(t, s.RefreshRemote(r))
	if got, ok, err := s.Remote(r.URL); err != nil || !ok || got != r {
		t.Errorf("after refresh: %+v, %t, %v; want %+v", got, ok, err, r)
	}
	// The URL now leads to another image.
	b := importBytes(t, s, ACI(t, Manifest("example.com/b")), imagestore.ImportOptions{Remote: &imagestore.Remote{URL: r.URL}})
	if got, ok, err := s.Remote(r.URL); err != nil || !ok || got.Key != b.Key() || got.ETag != "" {
		t.Errorf("after another import: %+v, %t, %v", got, ok, err)
	}
	must(t, s.Remove(t.Context(), b))
	if got, ok, err := s.Remote(r.URL); err != nil || ok {
		t.Errorf("after removal: %+v, %t, %v", got, ok, err)
	}
	r.Key = b.Key()
	if err := s.RefreshRemote(r); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("refresh of a removed image: %v", err)
	}
}

func touch(t *testing.T, s Store) {
	id := importBytes(t, s, ACI(t, Manifest("example.com/app")), imagestore.ImportOptions{})
	before := only(t, s)
	if _, err := s.Manifest(id); err != nil {
		t.Fatal(err)
	}
	if got := only(t, s); !got.LastUsed.Equal(before.LastUsed) {
		t.Error("reading the manifest counted as use")
	}
	must(t, s.Touch(id))
	after := only(t, s)
	// The clock of file times ticks every 4 to 10 ms.
	for deadline := time.Now().Add(5 * time.Second); !after.LastUsed.After(before.LastUsed) && time.Now().Before(deadline); {
		must(t, s.Touch(id))
		after = only(t, s)
	}
	if !after.LastUsed.After(before.LastUsed) || !after.ImportTime.Equal(before.ImportTime) {
		t.Errorf("Touch: %+v, before %+v", after, before)
	}
	// Cache data are no use of the image.
	must(t, s.RefreshRemote(imagestore.Remote{URL: "u", Key: id.Key()}))
	if got := only(t, s); !got.LastUsed.Equal(after.LastUsed) {
		t.Errorf("RefreshRemote changed the time of last use: %v, was %v", got.LastUsed, after.LastUsed)
	}
}

func remove(t *testing.T, s Store) {
	id := importBytes(t, s, ACI(t, Manifest("example.com/app", "version", "1")), imagestore.ImportOptions{Remote: &imagestore.Remote{URL: "u"}})
	must(t, s.Remove(t.Context(), id.Key()))
	if err := s.Remove(t.Context(), id.Key()); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("second Remove: %v", err)
	}
	if _, err := s.Find("example.com/app", nil); !errors.Is(err, imagestore.ErrNotFound) {
		t.Errorf("Find: %v", err)
	}
	if _, err := s.Resolve(string(id)); !errors.Is(err, imagestore.ErrNoMatch) {
		t.Errorf("Resolve: %v", err)
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List = %v, %v", list, err)
	}
	nothingLeft(t, s)
}

func ociRoundTrip(t *testing.T, s Store) {
	img := OCI(t, "example.com/oci",
		Tar(t, File{Name: "bin/"}, File{Name: "bin/a", Content: "first", Mode: 0o755}, File{Name: "bin/b", Target: "=bin/a"}, File{Name: "gone", Content: "x"}),
		Tar(t, File{Name: ".wh.gone"}, File{Name: "link", Target: "bin/a"}))
	img.Remote = &imagestore.Remote{URL: "docker://example.com/oci"}
	img.Latest = true
	id, err := Import(t.Context(), s, img)
	must(t, err)
	out := export(t, s, id)
	if ID(out) != id {
		t.Errorf("exported archive has ID %s, the image %s", ID(out), id)
	}
	if again := export(t, s, id); !bytes.Equal(again, out) {
		t.Error("two exports differ")
	}
	info := only(t, s)
	if info.Kind != imagestore.OCI || info.ID != id.Key() || !info.Latest || info.Size < int64(len(out)) {
		t.Errorf("List: %+v", info)
	}
	got, ok, err := s.FindOCI(t.Context(), img.Remote.URL, img.ManifestDigest)
	if err != nil || !ok || got != id.Key() {
		t.Errorf("FindOCI = %s, %t, %v", got, ok, err)
	}
	if _, ok, err := s.FindOCI(t.Context(), img.Remote.URL, Digest(nil)); ok || err != nil {
		t.Errorf("FindOCI with another digest: %t, %v", ok, err)
	}
	if again, err := Import(t.Context(), s, img); err != nil || again != id {
		t.Errorf("second import = %s, %v", again, err)
	}
	must(t, s.Remove(t.Context(), id))
	nothingLeft(t, s)
	if _, ok, err := s.FindOCI(t.Context(), img.Remote.URL, img.ManifestDigest); ok || err != nil {
		t.Errorf("FindOCI after removal: %t, %v", ok, err)
	}
}

func ociShares(t *testing.T, s Store) {
	base := Tar(t, File{Name: "base", Content: "shared"})
	one := OCI(t, "example.com/one", base, Tar(t, File{Name: "one", Content: "1"}))
	two := OCI(t, "example.com/two", base, Tar(t, File{Name: "two", Content: "2"}))
	id1, err := Import(t.Context(), s, one)
	must(t, err)
	im, err := s.BeginOCI(t.Context())
	must(t, err)
	for i, d := range two.Layers {
		has, err := im.HasLayer(t.Context(), d)
		must(t, err)
		if has != (i == 0) {
			t.Errorf("HasLayer(%d) = %t", i, has)
		}
	}
	must(t, im.PutLayer(t.Context(), two.Layers[0], func(context.Context, int64) (io.ReadCloser, error) {
		t.Error("a stored layer was fetched again")
		return nil, errors.New("not reached")
	}))
	must(t, im.PutLayer(t.Context(), two.Layers[1], two.Open(two.Layers[1].Digest)))
	id2, err := im.Commit(t.Context(), two.OCIImage)
	must(t, err)
	must(t, im.Close())
	must(t, s.Remove(t.Context(), id1))
	if ID(export(t, s, id2)) != id2 {
		t.Error("removing an image took a layer from another")
	}
	nothingLeft(t, s)
}

func ociTwice(t *testing.T, s Store) {
	empty := Tar(t)
	img := OCI(t, "example.com/twice", empty, Tar(t, File{Name: "f", Content: "x"}), empty)
	id, err := Import(t.Context(), s, img)
	must(t, err)
	if ID(export(t, s, id)) != id {
		t.Error("export has another ID")
	}
}

func ociResumes(t *testing.T, s Store) {
	img := OCI(t, "example.com/big", Tar(t, File{Name: "f", Content: noise(300_000)}))
	d := img.Layers[0]
	data := img.Blobs[d.Digest]
	half := int64(len(data) / 2)
	im, err := s.BeginOCI(t.Context())
	must(t, err)
	defer func() { must(t, im.Close()) }()
	broken := errors.New("connection reset")
	err = im.PutLayer(t.Context(), d, func(context.Context, int64) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[:half]), iotest.ErrReader(broken))), nil
	})
	if !errors.Is(err, broken) {
		t.Fatalf("broken download: %v", err)
	}
	// The rest in small pieces; the end comes too early, then at last in full.
	var offsets []int64
	for _, end := range []int64{half + 1000, int64(len(data))} {
		err = im.PutLayer(t.Context(), d, func(_ context.Context, offset int64) (io.ReadCloser, error) {
			offsets = append(offsets, offset)
			return io.NopCloser(iotest.HalfReader(bytes.NewReader(data[offset:end]))), nil
		})
	}
	must(t, err)
	if len(offsets) != 2 || offsets[0] != half || offsets[1] != half+1000 {
		t.Errorf("resumed at %v, want %d and %d", offsets, half, half+1000)
	}
	_, err = im.Commit(t.Context(), img.OCIImage)
	must(t, err)
}

// noise does not compress.
func noise(n int) string {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

func ociRefuses(t *testing.T, s Store) {
	img := OCI(t, "example.com/app", Tar(t, File{Name: "f", Content: noise(5000)}))
	good := img.Layers[0]
	other := OCI(t, "example.com/other", Tar(t, File{Name: "f", Content: "other"})).Layers[0]
	put := func(d layer.Descriptor, data []byte) error {
		im, err := s.BeginOCI(t.Context())
		must(t, err)
		defer func() { must(t, im.Close()) }()
		return im.PutLayer(t.Context(), d, func(_ context.Context, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data[min(offset, int64(len(data))):])), nil
		})
	}
	data := img.Blobs[good.Digest]
	flipped := bytes.Clone(data)
	flipped[len(flipped)/2] ^= 1
	with := func(fn func(*layer.Descriptor)) layer.Descriptor { d := good; fn(&d); return d }
	for name, err := range map[string]error{
		"wrong bytes":    put(good, flipped),
		"too long":       put(good, append(bytes.Clone(data), 0)),
		"too short":      put(good, data[:len(data)-1]),
		"wrong digest":   put(with(func(d *layer.Descriptor) { d.Digest = other.Digest }), data),
		"wrong diff ID":  put(with(func(d *layer.Descriptor) { d.DiffID = other.DiffID }), data),
		"wrong size":     put(with(func(d *layer.Descriptor) { d.Size++ }), data),
		"no digest":      put(with(func(d *layer.Descriptor) { d.Digest = "" }), data),
		"hostile digest": put(with(func(d *layer.Descriptor) { d.Digest = "sha256:../../../../etc/passwd" }), data),
		"unknown digest": put(with(func(d *layer.Descriptor) { d.Digest = "md5:d41d8cd98f00b204e9800998ecf8427e" }), data),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	must(t, put(good, data))
	commit := func(change func(*Image)) error {
		bad := *img
		change(&bad)
		_, err := Import(t.Context(), s, &bad)
		return err
	}
	for name, err := range map[string]error{
		"no config":        commit(func(i *Image) { i.RawConfig = nil }),
		"another config":   commit(func(i *Image) { i.RawConfig = append(bytes.Clone(i.RawConfig), ' ') }),
		"another manifest": commit(func(i *Image) { i.RawManifest = append(bytes.Clone(i.RawManifest), ' ') }),
		"no digest":        commit(func(i *Image) { i.ManifestDigest = "" }),
		"a layer too few":  commit(func(i *Image) { i.Layers = nil }),
		"a diff ID changed": commit(func(i *Image) {
			i.Layers = []layer.Descriptor{with(func(d *layer.Descriptor) { d.DiffID = other.DiffID })}
		}),
	} {
		if err == nil {
			t.Errorf("%s: committed", name)
		}
	}
	list, err := s.List(t.Context())
	must(t, err)
	if len(list) != 0 {
		t.Errorf("refused images are there: %+v", list)
	}
}

func ociAsACI(t *testing.T, s Store) {
	img := OCI(t, "example.com/oci", Tar(t, File{Name: "a", Content: "a"}), Tar(t, File{Name: "b", Content: "b"}))
	id, err := Import(t.Context(), s, img)
	must(t, err)
	out := export(t, s, id)
	if again := importBytes(t, s, out, imagestore.ImportOptions{}); again != id {
		t.Errorf("the exported archive was imported as %s, not %s", again, id)
	}
	if info := only(t, s); info.Kind != imagestore.OCI {
		t.Errorf("importing the archive changed the image: %+v", info)
	}
	must(t, s.Remove(t.Context(), id))
	if again := importBytes(t, s, Gzip(t, out), imagestore.ImportOptions{}); again != id {
		t.Errorf("imported as %s, not %s", again, id)
	}
	if again, err := Import(t.Context(), s, img); err != nil || again != id {
		t.Errorf("fetched as %s, %v; not %s", again, err, id)
	}
	if !bytes.Equal(export(t, s, id), out) {
		t.Error("archive changed")
	}
}

func ociAbandoned(t *testing.T, s Store) {
	img := OCI(t, "example.com/oci", Tar(t, File{Name: "a", Content: "a"}))
	im, err := s.BeginOCI(t.Context())
	must(t, err)
	d := img.Layers[0]
	must(t, im.PutLayer(t.Context(), d, img.Open(d.Digest)))
	if g, err := s.GC(t.Context(), imagestore.GCOptions{}); err != nil || len(g.Blobs) != 0 {
		t.Errorf("garbage collection took a layer from an import: %+v, %v", g, err)
	}
	must(t, im.Close())
	if g, err := s.GC(t.Context(), imagestore.GCOptions{Grace: time.Hour}); err != nil || len(g.Blobs) != 0 {
		t.Errorf("grace period was not kept: %+v, %v", g, err)
	}
	g, err := s.GC(t.Context(), imagestore.GCOptions{})
	if err != nil || len(g.Blobs) != 1 {
		t.Errorf("GC = %+v, %v; want one blob removed", g, err)
	}
}
