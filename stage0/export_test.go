// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// entries reads an archive: the content of each file, the type of what is none.
func entries(t *testing.T, path string) (map[string]string, map[string]int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := aci.Validate(f); err != nil {
		t.Errorf("not a valid image: %v", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out, uids := map[string]string{}, map[string]int{}
	tr := tar.NewReader(zr)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out, uids
		}
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(hdr.Name, "/")
		uids[name] = hdr.Uid
		switch hdr.Typeflag {
		case tar.TypeReg:
			data, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = string(data)
		case tar.TypeDir:
			out[name] = "directory"
		default:
			out[name] = "-> " + hdr.Linkname
		}
	}
}

func TestExport(t *testing.T) {
	needs(t)
	tests := []struct {
		name   string
		change func(*PrepareConfig)
		file   string
	}{
		{"overlay", func(*PrepareConfig) {}, "content"},
		{"layers", func(c *PrepareConfig) { c.Apps = []App{{Image: layersID, Name: "app"}} }, "top"},
		{"copy", func(c *PrepareConfig) { c.NoOverlay = true }, "content"},
		{"private users", func(c *PrepareConfig) { c.NoOverlay, c.PrivateUsers = true, true }, "content"},
		{"mapped private users", func(c *PrepareConfig) { c.PrivateUsers = true }, "content"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.prepareConfig()
			tt.change(&c)
			uuid := w.exited(c)
			out := filepath.Join(t.TempDir(), "x.aci")
			if err := Export(context.Background(), w.open(uuid), ExportConfig{Env: w.env, Output: out}); err != nil {
				t.Fatal(err)
			}
			got, uids := entries(t, out)
			delete(got, "manifest")
			want := map[string]string{
				"rootfs": "directory", "rootfs/file": tt.file, "rootfs/written": "by the app",
				"rootfs/etc": "directory", "rootfs/etc/mtab": "-> ../proc/self/mounts",
			}
			if tt.name != "layers" {
				want["rootfs/etc/kept"] = ""
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			for name, uid := range uids {
				if uid != 0 {
					t.Errorf("%s belongs to %d", name, uid)
				}
			}
			fi, err := os.Stat(out)
			if err != nil || fi.Mode().Perm() != 0o644 {
				t.Errorf("%v, %v", fi.Mode(), err)
			}
			w.wantNoMounts()
		})
	}
}

// What fails after the last byte was written has an exit status of its own.
func TestExportCannotFinish(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name   string
		output string
		close  bool
	}{
		{"closed", dir + "/x.aci", true},
		{"no directory", dir + "/none/x.aci", false},
	} {
		f, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		if tt.close {
			_ = f.Close()
		}
		c := ExportConfig{Output: tt.output}
		var unfinished *FinishError
		if err := c.finish(f); !errors.As(err, &unfinished) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestExportErrors(t *testing.T) {
	needs(t)
	ctx := context.Background()
	w := newWorld(t)
	exited, prepared := w.exited(w.prepareConfig()), w.prepared(w.prepareConfig())
	dir := t.TempDir()
	there := filepath.Join(dir, "there.aci")
	put(t, there, "old")
	tests := []struct {
		name string
		uuid poddir.UUID
		c    ExportConfig
		want string
	}{
		{"extension", exited, ExportConfig{Output: "x.tar"}, "extension must be .aci (given x.tar)"},
		{"not exited", prepared, ExportConfig{Output: dir + "/x.aci"}, "pod is not exited. Only exited pods can be exported"},
		{"unknown app", exited, ExportConfig{Output: dir + "/x.aci", App: "x"}, "unable to find app: app x is not present in pod"},
		{"target exists", exited, ExportConfig{Output: there}, "target file exists (try --overwrite)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Env = w.env
			if err := Export(ctx, w.open(tt.uuid), tt.c); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if err := Export(ctx, w.open(exited), ExportConfig{Env: w.env, Output: there, Overwrite: true}); err != nil {
		t.Errorf("overwrite: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir.aci"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := Export(ctx, w.open(exited), ExportConfig{Env: w.env, Output: dir + "/dir.aci", Overwrite: true})
	if !errors.Is(err, unix.EISDIR) {
		t.Errorf("directory as output: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "dir.aci")); err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("left in the directory: %v, %v", names, err)
	}
}

func TestExportRefusesMountsInCopies(t *testing.T) {
	needs(t)
	w := newWorld(t)
	c := w.prepareConfig()
	c.NoOverlay = true
	uuid := w.exited(c)
	p := w.open(uuid)
	at := filepath.Join(p.Path(), poddir.Stage1Rootfs, poddir.AppRootfs("app"), "etc")
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	err := Export(context.Background(), p, ExportConfig{Env: w.env, Output: filepath.Join(t.TempDir(), "x.aci")})
	if err == nil || !strings.Contains(err.Error(), "pod has remaining mountpoints. ") {
		t.Errorf("error %v", err)
	}
}

// gc must not delete what is being exported.
func TestExportKeepsPod(t *testing.T) {
	needs(t)
	w := newWorld(t)
	uuid := w.exited(w.prepareConfig())
	p := w.open(uuid)
	if err := Export(context.Background(), p, ExportConfig{Env: w.env, Output: filepath.Join(t.TempDir(), "x.aci")}); err != nil {
		t.Fatal(err)
	}
	w.gc(nil) // p still has its shared lock
	if o := w.open(uuid); o.State() != pod.Exited {
		t.Errorf("state %q", o.State())
	}
}
