// SPDX-License-Identifier: Apache-2.0

//go:build failpoint

package treestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
	"github.com/rkt/rkt/v2/store/treestore"
)

// childEnv makes the test binary do one command on a store.
const childEnv = "TREESTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	verb := os.Getenv(childEnv)
	if verb == "" {
		os.Exit(m.Run())
	}
	if err := child(context.Background(), os.Args[1], verb); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", verb, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// fixtures is a testing.TB outside of a test, where Fatal is a bug.
type fixtures struct{ testing.TB }

func (fixtures) Helper()           {}
func (fixtures) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func crashACI(name string, deps ...string) []byte {
	return storetest.ACI(fixtures{}, dependent(name, deps...), file{Name: "f", Content: name})
}

func crashOCI() *storetest.Image {
	img := storetest.OCI(fixtures{}, "example.com/oci",
		storetest.Tar(fixtures{}, file{Name: "a", Content: "a"}), storetest.Tar(fixtures{}, file{Name: "b", Content: "b"}))
	img.Remote = &imagestore.Remote{URL: "docker://example.com/oci"}
	return img
}

func child(ctx context.Context, dir, verb string) error {
	images, err := imagestore.Open(ctx, dir, imagestore.Options{})
	if err != nil {
		return err
	}
	trees, err := treestore.Open(ctx, dir, images, treestore.Options{})
	if err != nil {
		return err
	}
	switch verb {
	case "aci":
		_, err = images.ImportACI(ctx, bytes.NewReader(crashACI("example.com/aci")), imagestore.ImportOptions{
			Remote: &imagestore.Remote{URL: "https://example.com/aci"},
		})
	case "oci":
		_, err = storetest.Import(ctx, images, crashOCI())
	case "refresh":
		err = images.RefreshRemote(imagestore.Remote{URL: "https://example.com/aci", Key: storetest.ID(crashACI("example.com/aci"))})
	case "render":
		for _, name := range []string{"example.com/aci", "example.com/oci", "example.com/dep"} {
			err = errors.Join(err, renderNamed(ctx, images, trees, name))
		}
	case "rm":
		for _, name := range []string{"example.com/aci", "example.com/oci"} {
			err = errors.Join(err, removeNamed(ctx, images, name))
		}
	case "gc":
		_, err = images.GC(ctx, imagestore.GCOptions{})
		err = errors.Join(trees.GC(ctx, nil, nil), err)
	}
	return errors.Join(err, images.Close())
}

func renderNamed(ctx context.Context, images *imagestore.Store, trees *treestore.Store, name string) error {
	m := dependent(name)
	key, err := images.Find(m.Name, nil)
	if err != nil {
		return err
	}
	_, err = trees.Render(ctx, key)
	return err
}

// removeNamed is content if the image is gone: a killed removal may have
// finished but for its last words.
func removeNamed(ctx context.Context, images *imagestore.Store, name string) error {
	m := dependent(name)
	key, err := images.FindRemovable(m.Name, nil)
	if err == nil {
		err = images.Remove(ctx, key)
	}
	if errors.Is(err, imagestore.ErrNotFound) {
		return nil
	}
	return err
}

// command runs one verb in a process of its own.
func command(t *testing.T, dir, verb string, env ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], dir)
	cmd.Env = append(append(os.Environ(), childEnv+"="+verb), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// TestKilled kills each command at each failpoint it passes, and at each of
// them lets it see a full disk; then the same command must succeed, fsck be content
// and garbage collection leave nothing. Run with -tags failpoint.
func TestKilled(t *testing.T) {
	testenv.NeedsRoot(t)
	scenarios := []struct {
		verb  string
		setup func(t *testing.T, dir string)
	}{
		{"aci", func(*testing.T, string) {}},
		{"oci", func(*testing.T, string) {}},
		{"refresh", populate},
		{"render", func(t *testing.T, dir string) {
			populate(t, dir)
			s := openAt(t, dir)
			must(t, s.trees.GC(t.Context(), nil, nil))
			must(t, s.images.Close())
		}},
		{"rm", populate},
		{"gc", func(t *testing.T, dir string) {
			populate(t, dir)
			must(t, command(t, dir, "rm"))
			s := openAt(t, dir)
			// Garbage of every kind.
			hex := strings.Repeat("ab", 32)
			for _, name := range []string{
				"tmp/old", "tmp/rkt-scratch", "tmp/blobs/" + hex, "blob/sha256/ab/" + hex,
				"imageManifest/sha512/ab/sha512-" + hex, "unpack/draft-1/x", "imagelocks/" + hex,
			} {
				must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o770))
				must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o660))
			}
			must(t, s.images.Close())
		}},
	}
	points := map[string]bool{}
	for _, sc := range scenarios {
		for _, point := range reached(t, sc.verb, sc.setup) {
			points[point] = true
			for _, action := range []string{"kill", "enospc"} {
				t.Run(sc.verb+" "+point+" "+action, func(t *testing.T) {
					dir := t.TempDir()
					sc.setup(t, dir)
					err := command(t, dir, sc.verb, "RKT_FAILPOINT="+point+"="+action)
					var exit *exec.ExitError
					if action == "kill" && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
						t.Fatalf("was not killed: %v", err)
					}
					if err := command(t, dir, sc.verb); err != nil {
						t.Fatalf("again: %v", err)
					}
					settled(t, dir, sc.verb)
				})
			}
		}
	}
	t.Logf("%d failpoints", len(points))
}

// populate puts the images the commands are about into a store.
func populate(t *testing.T, dir string) {
	t.Helper()
	must(t, command(t, dir, "aci"))
	must(t, command(t, dir, "oci"))
	s := openAt(t, dir)
	_, err := s.images.ImportACI(t.Context(), bytes.NewReader(crashACI("example.com/dep", "example.com/aci")), imagestore.ImportOptions{})
	must(t, err)
	must(t, s.images.Close())
}

// reached lists the failpoints a command passes.
func reached(t *testing.T, verb string, setup func(*testing.T, string)) []string {
	t.Helper()
	dir := t.TempDir()
	setup(t, dir)
	log := filepath.Join(t.TempDir(), "log")
	must(t, command(t, dir, verb, "RKT_FAILPOINT_LOG="+log))
	data, err := os.ReadFile(log)
	must(t, err)
	names := strings.Fields(string(data))
	slices.Sort(names)
	return slices.Compact(names)
}

// settled checks a store after a repeated command.
func settled(t *testing.T, dir, verb string) {
	t.Helper()
	s := openAt(t, dir)
	report, err := s.trees.Fsck(t.Context(), false)
	must(t, err)
	if len(report.Problems) > 0 {
		t.Errorf("fsck: %+v", report.Problems)
	}
	l, err := s.images.List(t.Context())
	must(t, err)
	if want := map[string]int{"aci": 1, "oci": 1, "refresh": 3, "render": 3, "rm": 1, "gc": 1}[verb]; len(l) != want {
		t.Errorf("%d images, want %d", len(l), want)
	}
	for _, i := range l {
		must(t, s.images.Remove(t.Context(), i.ID))
	}
	_, err = s.images.GC(t.Context(), imagestore.GCOptions{})
	must(t, err)
	must(t, s.trees.GC(t.Context(), nil, nil))
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err == nil && !d.IsDir() && filepath.Dir(rel) != "db" {
			t.Errorf("left: %s", rel)
		}
		if err == nil && d.IsDir() && strings.HasPrefix(rel, "unpack/") {
			t.Errorf("left: %s", rel)
		}
		return err
	}))
}
