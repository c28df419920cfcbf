// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
)

func FuzzParseDigest(f *testing.F) {
	for _, s := range []string{
		"sha256:" + strings.Repeat("a", 64), "sha512:" + strings.Repeat("0", 128), "sha256:", "md5:00", "sha256:../..", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDigest(s)
		if err != nil {
			return
		}
		if d.String() != s {
			t.Errorf("%q prints as %q", s, d)
		}
		if strings.ContainsAny(d.lockKey(), "/\x00") || strings.HasPrefix(d.lockKey(), ".") {
			t.Errorf("%q is no file name", d.lockKey())
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	key := appc.ImageID("sha512-" + strings.Repeat("a", 64))
	r := &Record{
		Version: recordVersion, ID: key + appc.ImageID(strings.Repeat("b", 64)), Kind: OCI, Name: "example.com/x",
		Labels: appc.Labels{{Name: "version", Value: "1"}}, Size: 5, Imported: time.Unix(1, 2).UTC(), Latest: true,
		Layers:  []layer.Descriptor{{Digest: "sha256:" + strings.Repeat("a", 64), DiffID: "sha256:" + strings.Repeat("b", 64), Size: 3}},
		Remotes: []RemoteRecord{{URL: "u", ETag: "e", MaxAge: 3}},
	}
	data, err := r.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"kind":"aci","id":"sha512-../../etc"}`))
	f.Add([]byte(`{"version":1,"kind":"oci","id":"` + string(key) + `","layers":[{"digest":"sha256:../x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(key, data)
		if err != nil {
			return
		}
		if r.ID.Key() != key {
			t.Errorf("record of %s was taken for that of %s", r.ID, key)
		}
		out, err := r.marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseRecord(key, out)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzLabels(f *testing.F) {
	f.Add("\x01a\x01b")
	f.Add(packLabels(appc.Labels{{Name: "version", Value: ""}, {Name: "x", Value: strings.Repeat("y", 200)}}))
	f.Fuzz(func(t *testing.T, packed string) {
		labels, ok := unpackLabels(packed)
		if !ok {
			return
		}
		again, ok := unpackLabels(packLabels(labels))
		if !ok || !cmp.Equal(labels, again) {
			t.Errorf("%q became %q", labels, again)
		}
	})
}

func TestReadAhead(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 100_000)
	for name, r := range map[string]io.Reader{
		"whole":      bytes.NewReader(want),
		"bytes":      iotest.OneByteReader(bytes.NewReader(want)),
		"halves":     iotest.HalfReader(bytes.NewReader(want)),
		"data + EOF": iotest.DataErrReader(bytes.NewReader(want)),
	} {
		a := newReadAhead(r)
		got, err := io.ReadAll(iotest.HalfReader(a))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: after the end: %v", name, err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	broken := errors.New("broken")
	a := newReadAhead(io.MultiReader(bytes.NewReader(want), iotest.ErrReader(broken)))
	got, err := io.ReadAll(a)
	if !errors.Is(err, broken) || !bytes.Equal(got, want) {
		t.Errorf("broken: %d bytes, %v", len(got), err)
	}
	// Closed in the middle, and twice.
	a = newReadAhead(bytes.NewReader(want))
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFlusher(t *testing.T) {
	f := newFlusher(t.TempDir())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			f.wrote(kickBytes / 2)
			if err := f.flush(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f.wait()
	if f.started != f.finished || f.started > 40 {
		t.Errorf("%d calls begun, %d ended", f.started, f.finished)
	}
	// An error sticks: what was written may be lost.
	f.path = "/does/not/exist"
	if f.flush() == nil {
		t.Error("no error")
	}
	f.path = t.TempDir()
	if f.flush() == nil {
		t.Error("the error was forgotten")
	}
}

func TestStreamCap(t *testing.T) {
	if streamCap(layer.Limits{}) != 0 {
		t.Error("no limits, but a cap")
	}
	l := layer.DefaultLimits()
	if c := streamCap(l); c <= l.Bytes {
		t.Errorf("cap %d leaves no room for headers", c)
	}
}
