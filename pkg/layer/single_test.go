// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The ACIs of single layers hold what their layer supplies, with the metadata
// the layers have together, and links only within a layer.
func TestWriteTopACI(t *testing.T) {
	o := UnpackOptions{Unprivileged: true}
	var layers []Source
	for _, data := range [][]byte{
		makeTar(t, dir("etc", 0o700), file("etc/a", "base"), file("etc/gone", "x"), file("dir/under", "y")),
		makeTar(t, file("etc/b", "middle"), link("etc/c", "etc/b"), file("etc/.wh.gone", "")),
		makeTar(t, file(".wh.dir", ""), file("dev/stdin", "mine")),
	} {
		s, _ := unpack(t, data, o)
		layers = append(layers, s)
	}
	for i, want := range [][]string{
		{
			"manifest 644", "rootfs/ 755", "rootfs/dev/ 755", "rootfs/dev/fd 777", "rootfs/dev/stderr 777", "rootfs/dev/stdin 777",
			"rootfs/dev/stdout 777", "rootfs/dir/ 755", "rootfs/dir/under 644", "rootfs/etc/ 700", "rootfs/etc/a 644", "rootfs/etc/gone 644",
		},
		{"manifest 644", "rootfs/ 755", "rootfs/etc/ 700", "rootfs/etc/b 644", "rootfs/etc/c 644 rootfs/etc/b"},
		{"manifest 644", "rootfs/ 755", "rootfs/dev/ 755", "rootfs/dev/stdin 644"},
	} {
		var out bytes.Buffer
		if err := WriteTopACI(t.Context(), &out, []byte("{}"), layers[:i+1]); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, entriesOf(t, &out)); diff != "" {
			t.Errorf("layer %d: %s", i, diff)
		}
	}
	paths, err := VisiblePaths(t.Context(), layers)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/dev", "/dev/fd", "/dev/stderr", "/dev/stdin", "/dev/stdout", "/etc", "/etc/a", "/etc/b", "/etc/c"}
	if !slices.Equal(paths, want) {
		t.Errorf("visible: %q", paths)
	}
}

func entriesOf(t *testing.T, r io.Reader) (list []string) {
	t.Helper()
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("%s %o", h.Name, h.Mode)
		if h.Typeflag == tar.TypeLink {
			s += " " + h.Linkname
		}
		list = append(list, s)
	}
}
