// SPDX-License-Identifier: Apache-2.0

package layerdiff

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// tree makes a tar of "NAME" (a file with its name and what is behind "=" as
// content), "NAME/" and "NAME->LINK" (a hard link).
func tree(t testing.TB, when int64, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range append([]string{"./"}, names...) {
		hdr := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(7, 0), Format: tar.FormatPAX}
		content := ""
		if to, link, ok := strings.Cut(name, "->"); ok {
			hdr.Name, hdr.Linkname, hdr.Typeflag = to, link, tar.TypeLink
		} else if strings.HasSuffix(name, "/") {
			hdr.Typeflag, hdr.Mode, hdr.ModTime = tar.TypeDir, 0o755, time.Unix(when, 0)
		} else {
			hdr.Name, content, _ = strings.Cut(name, "=")
			hdr.Size = int64(len(content))
		}
		if err := w.WriteHeader(hdr); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func take(t testing.TB, data []byte) Snapshot {
	t.Helper()
	s, err := Take(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(t testing.TB, data []byte) string {
	t.Helper()
	var list []string
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(list, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		if hdr.Typeflag == tar.TypeLink {
			hdr.Name += "->" + hdr.Linkname
		}
		list = append(list, hdr.Name)
	}
}

func TestPlan(t *testing.T) {
	for name, tt := range map[string]struct {
		older, newer []string
		want         string
	}{
		"same":                {[]string{"a/", "a/b=1"}, []string{"a/", "a/b=1"}, ""},
		"all new":             {nil, []string{"a/", "a/b=1"}, "./ a/ a/b"},
		"content":             {[]string{"a/", "a/b=1", "a/c=1"}, []string{"a/", "a/b=2", "a/c=1"}, "./ a/ a/b"},
		"removed":             {[]string{"a/", "a/b=1", "c=1"}, []string{"a/", "c=1"}, "./ a/ a/.wh.b"},
		"removed tree":        {[]string{"a/", "a/b/", "a/b/c=1"}, []string{"a/"}, "./ a/ a/.wh.b"},
		"removed at top":      {[]string{"a=1"}, nil, "./ .wh.a"},
		"directory to file":   {[]string{"a/", "a/b=1"}, []string{"a=1"}, "./ a"},
		"file to directory":   {[]string{"a=1"}, []string{"a/", "a/b=1"}, "./ a/ a/b"},
		"new link":            {[]string{"a=1"}, []string{"a=1", "b->a"}, "./ a b->a"},
		"changed linked file": {[]string{"a=1", "b->a"}, []string{"a=2", "b->a"}, "./ a b->a"},
		"third link":          {[]string{"a=1", "b->a"}, []string{"a=1", "b->a", "c->a"}, "./ a b->a c->a"},
		"first name removed":  {[]string{"a=1", "b->a"}, []string{"b=1"}, "./ b .wh.a"},
		"link broken":         {[]string{"a=1", "b->a"}, []string{"a=1", "b=1"}, "./ b"},
		"odd names":           {[]string{"a\n=1", "\xff=1"}, []string{"\xff=1"}, "./ .wh.a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			older := take(t, tree(t, 1, tt.older...))
			if tt.older == nil && name == "all new" {
				older = nil
			}
			data := tree(t, 2, tt.newer...)
			p := Compare(older, take(t, data))
			if p.Empty() != (tt.want == "") {
				t.Error("empty")
			}
			var out bytes.Buffer
			if err := p.Write(&out, bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			if got := names(t, out.Bytes()); got != tt.want {
				t.Errorf("%q, not %q", got, tt.want)
			}
		})
	}
}

func TestSnapshotFile(t *testing.T) {
	s := take(t, tree(t, 1, "a/", "a/b=1", "a/c->a/b", "d \n\"=2", "\xff=3"))
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Read(bytes.NewReader(b.Bytes()))
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%v, %v", got, err)
	}
	for n := range b.Len() - 1 {
		if _, err := Read(bytes.NewReader(b.Bytes()[:n])); err == nil {
			t.Fatalf("the first %d bytes are enough", n)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("0\n"))
	f.Add([]byte(strings.Repeat("0", 64) + " true \"\" \".\"\n1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := s.Write(&b); err != nil {
			t.Fatal(err)
		}
		if again, err := Read(&b); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%v, %v", again, err)
		}
	})
}
