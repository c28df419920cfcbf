// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/embedded"
	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// stage1World is a data directory, empty configuration and places for stage1
// images.
type stage1World struct {
	*Deps
	t      *testing.T
	beside string // directory of the binary
	stderr *bytes.Buffer
}

func newStage1World(t *testing.T) *stage1World {
	t.Helper()
	d, _, stderr := testDeps(t)
	dir := t.TempDir()
	w := &stage1World{Deps: d, t: t, beside: filepath.Join(dir, "bin"), stderr: stderr}
	d.EUID = os.Geteuid
	d.command = "run"
	d.Executable = func() (string, error) { return filepath.Join(w.beside, "rkt"), nil }
	d.Stage1Images = filepath.Join(dir, "images")
	d.Global.Dir = filepath.Join(dir, "data")
	d.Global.SystemConfig, d.Global.LocalConfig = filepath.Join(dir, "system"), filepath.Join(dir, "local")
	for _, sub := range []string{w.beside, d.Stage1Images, filepath.Join(d.Global.LocalConfig, "stage1.d")} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(d.close)
	return w
}

// image makes an archive; note makes images of one name differ.
func (w *stage1World) image(name, ver, note string) []byte {
	w.t.Helper()
	layout := w.t.TempDir()
	if err := os.Mkdir(filepath.Join(layout, "rootfs"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	m := &appc.ImageManifest{
		ACKind: "ImageManifest", ACVersion: appc.ACVersion, Name: appc.Identifier(name),
		Labels:      appc.Labels{{Name: "version", Value: ver}},
		Annotations: appc.Annotations{{Name: "note", Value: note}},
	}
	raw, err := m.Marshal()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(layout, "manifest"), raw, 0o644); err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := aci.BuildLayout(w.t.Context(), &b, layout, m, aci.BuildOptions{OwnerRoot: true, ModTime: time.Unix(1, 0)}); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

func (w *stage1World) write(path string, data []byte) {
	w.t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *stage1World) configure(json string) {
	w.t.Helper()
	w.write(filepath.Join(w.Global.LocalConfig, "stage1.d", "s.json"), []byte(json))
}

func (w *stage1World) find(c stage1Choice) (appc.ImageID, error) {
	w.t.Helper()
	f, err := w.fetcher(w.t.Context(), &downloadFlags{})
	if err != nil {
		return "", err
	}
	return w.findStage1(w.t.Context(), f, c)
}

// note is what tells the found image from others.
func (w *stage1World) note(c stage1Choice) string {
	w.t.Helper()
	id, err := w.find(c)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := w.images.Manifest(id)
	if err != nil {
		w.t.Fatal(err)
	}
	note, _ := m.Annotations.Get("note")
	return note
}

// embed puts an image into the program, whose store does not have it.
func (w *stage1World) embed(name, note string) {
	w.t.Helper()
	data := w.image(name, version, note)
	store, err := w.Images(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := store.ImportACI(w.t.Context(), bytes.NewReader(data), imagestore.ImportOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := store.Remove(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
	w.Embedded = append(w.Embedded, embedded.Image{Name: name, ID: id.Key().String(), Archive: string(data)})
}

// What the names of images are in the tests.
const (
	defaultStage1File = "stage1-coreos.aci"
	flyName           = "coreos.com/rkt/stage1-fly"
)

func TestStage1Order(t *testing.T) {
	w := newStage1World(t)
	if _, err := w.find(stage1Choice{}); err == nil || !strings.Contains(err.Error(), "use --stage1-{path,url,name,hash,from-dir} flag") {
		t.Errorf("nothing anywhere: %v", err)
	}
	w.embed(defaultStage1Name, "embedded")
	w.embed(flyName, "fly")
	for range 2 { // imported, then found by its ID
		if got := w.note(stage1Choice{}); got != "embedded" {
			t.Errorf("found %s", got)
		}
	}
	w.write(filepath.Join(w.Stage1Images, defaultStage1File), w.image(defaultStage1Name, version, "installed"))
	if got := w.note(stage1Choice{}); got != "installed" {
		t.Errorf("found %s", got)
	}
	w.write(filepath.Join(w.beside, defaultStage1File), w.image(defaultStage1Name, version, "beside"))
	if got := w.note(stage1Choice{}); got != "beside" {
		t.Errorf("found %s", got)
	}
	if got := w.note(stage1Choice{stage1FromDir, defaultStage1File}); got != "installed" {
		t.Errorf("found %s", got)
	}
}

// The images in the program are found by every name they have, without the
// network: there is none in tests.
func TestStage1Embedded(t *testing.T) {
	w := newStage1World(t)
	w.embed(defaultStage1Name, "coreos")
	w.embed(flyName, "fly")
	hostOS, arch := appc.HostLabels()
	for _, c := range []stage1Choice{
		{stage1Name, flyName},
		{stage1Name, flyName + ":" + version},
		{stage1Name, flyName + ":" + version + ",os=" + hostOS + ",arch=" + arch},
		{stage1FromDir, "stage1-fly.aci"},
	} {
		for range 2 { // imported, then found by its ID
			if got := w.note(c); got != "fly" {
				t.Errorf("%s found %s", c, got)
			}
		}
	}
	if got := w.note(stage1Choice{}); got != "coreos" {
		t.Errorf("found %s", got)
	}
	if got := w.note(stage1Choice{stage1Name, defaultStage1Name}); got != "coreos" {
		t.Errorf("found %s", got)
	}
	// Another build of the same version is not what is in the program.
	w.imported(flyName, version, "older build")
	if got := w.note(stage1Choice{stage1Name, flyName}); got != "fly" {
		t.Errorf("found %s", got)
	}
	// An older version is.
	w.imported(flyName, "1.0.0", "older")
	if got := w.note(stage1Choice{stage1Name, flyName + ":1.0.0"}); got != "older" {
		t.Errorf("found %s", got)
	}
	// A file in the directory is meant by its name.
	w.Global.Insecure.Image = true
	w.write(filepath.Join(w.Stage1Images, "stage1-fly.aci"), w.image(flyName, version, "installed"))
	if got := w.note(stage1Choice{stage1FromDir, "stage1-fly.aci"}); got != "installed" {
		t.Errorf("found %s", got)
	}
	if _, err := w.find(stage1Choice{stage1FromDir, "stage1-kvm.aci"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is nowhere: %v", err)
	}
}

// A configuration that names an image which comes with rkt means that one.
func TestStage1ConfiguredEmbedded(t *testing.T) {
	w := newStage1World(t)
	w.embed(defaultStage1Name, "coreos")
	w.embed(flyName, "fly")
	w.configure(`{"rktKind":"stage1","rktVersion":"v1","name":"` + flyName + `","version":"` + version + `"}`)
	if got := w.note(stage1Choice{}); got != "fly" {
		t.Errorf("found %s", got)
	}
	w.write(filepath.Join(w.Stage1Images, "stage1-fly.aci"), w.image(flyName, version, "installed"))
	if got := w.note(stage1Choice{}); got != "installed" {
		t.Errorf("found %s", got)
	}
}

func (w *stage1World) imported(name, ver, note string) {
	w.t.Helper()
	store, err := w.Images(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := store.ImportACI(w.t.Context(), bytes.NewReader(w.image(name, ver, note)), imagestore.ImportOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// A file that came with rkt is imported when it is new or has changed, not at
// each run.
func TestStage1FileIsRemembered(t *testing.T) {
	w := newStage1World(t)
	path := filepath.Join(w.beside, defaultStage1File)
	w.write(path, w.image(defaultStage1Name, version, "one"))
	id, err := w.find(stage1Choice{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.images.Record(id)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.find(stage1Choice{}); err != nil || again != id {
		t.Fatal(again, err)
	}
	second, err := w.images.Record(id)
	if err != nil {
		t.Fatal(err)
	}
	if !second.Imported.Equal(first.Imported) {
		t.Error("an unchanged file was imported again")
	}
	w.write(path, w.image(defaultStage1Name, version, "two"))
	if got := w.note(stage1Choice{}); got != "two" {
		t.Errorf("found %s", got)
	}
	if err := w.images.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.write(path, w.image(defaultStage1Name, version, "one"))
	if got := w.note(stage1Choice{}); got != "one" {
		t.Errorf("found %s", got)
	}
}

func TestStage1Configured(t *testing.T) {
	w := newStage1World(t)
	w.Global.Insecure.Image = true
	other := filepath.Join(t.TempDir(), "other.aci")
	w.write(other, w.image("example.com/other", "1", "other"))
	w.configure(`{"rktKind":"stage1","rktVersion":"v1","name":"example.com/other","version":"1","location":"` + other + `"}`)
	if got := w.note(stage1Choice{}); got != "other" {
		t.Errorf("found %s", got)
	}
	// By name and version, without the file.
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if got := w.note(stage1Choice{}); got != "other" {
		t.Errorf("found %s", got)
	}
}

func TestStage1ConfiguredFileMissing(t *testing.T) {
	w := newStage1World(t)
	w.Global.Insecure.Image = true
	w.configure(`{"rktKind":"stage1","rktVersion":"v1","location":"/none/such.aci"}`)
	_, err := w.find(stage1Choice{})
	if err == nil || !strings.Contains(err.Error(), "failed to fetch stage1 image and failed to fall back to stage1 image in the rkt directory") {
		t.Error(err)
	}
	w.write(filepath.Join(w.beside, "such.aci"), w.image(defaultStage1Name, version, "beside"))
	if got := w.note(stage1Choice{}); got != "beside" {
		t.Errorf("found %s", got)
	}
}

// Installed images need no signature, others do.
func TestStage1Trust(t *testing.T) {
	w := newStage1World(t)
	data := w.image(defaultStage1Name, version, "x")
	installed, elsewhere := filepath.Join(w.Stage1Images, "x.aci"), filepath.Join(t.TempDir(), "x.aci")
	w.write(installed, data)
	w.write(elsewhere, data)
	if got := w.note(stage1Choice{stage1Path, installed}); got != "x" {
		t.Errorf("found %s", got)
	}
	if got := w.note(stage1Choice{stage1URL, "file://" + installed}); got != "x" {
		t.Errorf("found %s", got)
	}
	for _, path := range []string{elsewhere, filepath.Join(w.Stage1Images, "..", filepath.Base(filepath.Dir(elsewhere)), "x.aci")} {
		if _, err := w.find(stage1Choice{stage1Path, path}); err == nil {
			t.Errorf("%s needs no signature", path)
		}
	}
}
