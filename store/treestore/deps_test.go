// SPDX-License-Identifier: Apache-2.0

package treestore_test

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/storetest"
	"github.com/rkt/rkt/v2/store/treestore"
)

// storetestTime is the modification time of all files of storetest.
var storetestTime = time.Unix(1_600_000_000, 0)

func owner(t testing.TB, path string) uint32 {
	t.Helper()
	st, err := os.Lstat(path)
	must(t, err)
	return st.Sys().(*syscall.Stat_t).Uid
}

// dependent is a manifest with dependencies by name.
func dependent(name string, deps ...string) *appc.ImageManifest {
	m := storetest.Manifest(name)
	for _, d := range deps {
		m.Dependencies = append(m.Dependencies, appc.Dependency{ImageName: appc.Identifier(d)})
	}
	return m
}

func listed(m *appc.ImageManifest, paths ...string) *appc.ImageManifest {
	m.PathWhitelist = paths
	return m
}

// idOf is images.md 12: the digest of the keys of the flattened list.
func idOf(keys ...appc.ImageID) string {
	var s []string
	for _, k := range keys {
		s = append(s, string(k))
	}
	sum := sha512.Sum512([]byte(strings.Join(s, ",")))
	return fmt.Sprintf("deps-sha512-%x", sum[:32])
}

// TestDependencyOrder has the examples of images.md 10.7.
func TestDependencyOrder(t *testing.T) {
	s := open(t)
	each := func(who string) []file {
		// Every image has a file named for each set of images it is in.
		var files []file
		for _, set := range []string{"ACDB", "CDB", "DB", "B", "CD", "D"} {
			if strings.Contains(set, who) {
				files = append(files, file{Name: set, Content: who})
			}
		}
		return files
	}
	b, _ := s.aci(t, storetest.Manifest("example.com/b"), each("B")...)
	d, _ := s.aci(t, storetest.Manifest("example.com/d"), each("D")...)
	c, _ := s.aci(t, dependent("example.com/c", "example.com/d"), each("C")...)
	a, _ := s.aci(t, dependent("example.com/a", "example.com/b", "example.com/c"), each("A")...)
	tree := s.render(t, a)
	if want := idOf(a, c, d, b); tree.ID != want {
		t.Errorf("ID %s, want %s", tree.ID, want)
	}
	want := map[string]string{"ACDB": "A", "CDB": "C", "DB": "D", "B": "B", "CD": "C", "D": "D"}
	if diff := cmp.Diff(want, s.copied(t, tree)); diff != "" {
		t.Error(diff)
	}
	if tree.Manifest.Name != "example.com/a" || len(tree.Lowers) != 1 {
		t.Errorf("%+v", tree)
	}

	// A diamond: B and C both depend on D.
	b2, _ := s.aci(t, dependent("example.com/b2", "example.com/d"))
	a2, _ := s.aci(t, dependent("example.com/a2", "example.com/b2", "example.com/c"))
	if got, want := s.render(t, a2).ID, idOf(a2, c, d, b2, d); got != want {
		t.Errorf("ID %s, want %s", got, want)
	}
	if r, err := s.trees.Verify(t.Context(), a2); err != nil || !r.Rendered || r.Damage != nil {
		t.Errorf("Verify = %+v, %v", r, err)
	}
}

// TestDependencyConflicts: an ancestor that is no directory hides what is below
// it in later images; links are never followed across images.
func TestDependencyConflicts(t *testing.T) {
	s := open(t)
	s.aci(t, storetest.Manifest("example.com/base"),
		file{Name: "dir/"}, file{Name: "dir/hidden", Content: "base"}, file{Name: "etc/"}, file{Name: "etc/x", Content: "base"},
		file{Name: "file", Content: "base"}, file{Name: "target", Content: "base"}, file{Name: "link", Target: "=target"})
	a, _ := s.aci(t, dependent("example.com/a", "example.com/base"),
		file{Name: "dir", Content: "now a file"}, file{Name: "etc", Target: "/elsewhere"},
		file{Name: "file/"}, file{Name: "file/below", Content: "a"}, file{Name: "target", Content: "a"})
	want := map[string]string{
		"dir": "now a file", "etc": "-> /elsewhere", "file/": "", "file/below": "a", "target": "a", "link": "base",
	}
	if diff := cmp.Diff(want, s.copied(t, s.render(t, a))); diff != "" {
		t.Error(diff)
	}
}

func TestDependencyErrors(t *testing.T) {
	s := open(t)
	dep, size := s.aci(t, storetest.Manifest("example.com/dep", "version", "1"))
	other := storetest.ID([]byte("x"))
	add := func(d appc.Dependency) error {
		m := storetest.Manifest("example.com/app", "n", fmt.Sprint(time.Now().UnixNano()))
		m.Dependencies = []appc.Dependency{d}
		key, _ := s.aci(t, m)
		_, err := s.trees.Render(t.Context(), key)
		return err
	}
	rec, err := s.images.Record(dep)
	must(t, err)
	wrongHalf := rec.ID.Key() + other[len(other.Key()):]
	for name, d := range map[string]appc.Dependency{
		"missing":          {ImageName: "example.com/nothing"},
		"another version":  {ImageName: "example.com/dep", Labels: appc.Labels{{Name: "version", Value: "2"}}},
		"another ID":       {ImageName: "example.com/dep", ImageID: &other},
		"another half ID":  {ImageName: "example.com/dep", ImageID: &wrongHalf},
		"ID, another name": {ImageName: "example.com/x", ImageID: &rec.ID},
		"another size":     {ImageName: "example.com/dep", Size: uint64(size) + 1},
	} {
		if err := add(d); err == nil {
			t.Errorf("%s: rendered", name)
		}
	}
	for name, d := range map[string]appc.Dependency{
		"name":           {ImageName: "example.com/dep"},
		"ID":             {ImageName: "example.com/dep", ImageID: &rec.ID},
		"key":            {ImageName: "example.com/dep", ImageID: &dep},
		"all that is so": {ImageName: "example.com/dep", ImageID: &rec.ID, Size: uint64(size), Labels: rec.Labels},
	} {
		if err := add(d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// By name, images can depend on themselves and on each other.
	self, _ := s.aci(t, dependent("example.com/self", "example.com/self"))
	ping, _ := s.aci(t, dependent("example.com/ping", "example.com/pong"))
	s.aci(t, dependent("example.com/pong", "example.com/ping"))
	for _, key := range []appc.ImageID{self, ping} {
		var cycle *treestore.CycleError
		if _, err := s.trees.Render(t.Context(), key); !errors.As(err, &cycle) {
			t.Errorf("cycle: %v", err)
		}
	}
	// Diamonds on diamonds must not take for ever.
	s.aci(t, storetest.Manifest("example.com/n0"))
	var top appc.ImageID
	for i := 1; i < 40; i++ {
		below := fmt.Sprintf("example.com/n%d", i-1)
		top, _ = s.aci(t, dependent(fmt.Sprintf("example.com/n%d", i), below, below))
	}
	if _, err := s.trees.Render(t.Context(), top); err == nil {
		t.Error("2^39 images were rendered")
	}
}

// TestWhitelist is images.md 10.8.
func TestWhitelist(t *testing.T) {
	s := open(t)
	files := []file{
		{Name: "bin/"},
		{Name: "bin/sh", Content: "sh"},
		{Name: "bin/ls", Content: "ls"},
		{Name: "lib/"},
		{Name: "lib/sub/"},
		{Name: "lib/sub/a", Content: "a"},
		{Name: "empty/"},
	}
	alone, _ := s.aci(t, listed(storetest.Manifest("example.com/alone"), "/bin/sh"), files...)
	tree := s.render(t, alone)
	// Directories of the image itself are always kept.
	want := map[string]string{"bin/": "", "bin/sh": "sh", "lib/": "", "lib/sub/": "", "empty/": ""}
	if diff := cmp.Diff(want, s.copied(t, tree)); diff != "" {
		t.Error(diff)
	}
	s.aci(t, storetest.Manifest("example.com/base"), files...)
	m := listed(dependent("example.com/app", "example.com/base"), "/own", "/lib/sub/a", "/bin", "/bin/ls")
	app, _ := s.aci(t, m, file{Name: "own", Content: "own"}, file{Name: "dropped", Content: "x"}, file{Name: "mine/"})
	// The directories of a dependency must be listed; parents come anyway.
	want = map[string]string{"own": "own", "mine/": "", "bin/": "", "bin/ls": "ls", "lib/": "", "lib/sub/": "", "lib/sub/a": "a"}
	if diff := cmp.Diff(want, s.copied(t, s.render(t, app))); diff != "" {
		t.Error(diff)
	}
	// Every list on the way counts, and only those on the way: a sibling's does not.
	s.aci(t, listed(dependent("example.com/middle", "example.com/base"), "/bin/sh", "/bin/ls"))
	s.aci(t, storetest.Manifest("example.com/sibling"), file{Name: "bin/"}, file{Name: "bin/cat", Content: "cat"}, file{Name: "bin/sh", Content: "sibling's"})
	top, _ := s.aci(t, listed(dependent("example.com/top", "example.com/sibling", "example.com/middle"), "/bin/sh", "/bin/cat", "/lib/sub/a"))
	want = map[string]string{"bin/": "", "bin/sh": "sh", "bin/cat": "cat"}
	got := s.render(t, top)
	if diff := cmp.Diff(want, s.copied(t, got)); diff != "" {
		t.Error(diff)
	}
	if r, err := s.trees.Verify(t.Context(), top); err != nil || r.Damage != nil {
		t.Errorf("Verify = %+v, %v", r, err)
	}
}

// TestWhitelistHardLinks: a kept link to a dropped file keeps the content, and
// kept links to one file stay links.
func TestWhitelistHardLinks(t *testing.T) {
	s := open(t)
	key, _ := s.aci(t, listed(storetest.Manifest("example.com/links"), "/b", "/c", "/e", "/sym"),
		file{Name: "a", Content: "content"}, file{Name: "b", Target: "=a"}, file{Name: "c", Target: "=b"}, file{Name: "d", Target: "=a"},
		file{Name: "e", Content: "other"}, file{Name: "f", Target: "=e"}, file{Name: "sym", Target: "a"})
	tree := s.render(t, key)
	want := map[string]string{"b": "content", "c": "content", "e": "other", "sym": "-> a"}
	if diff := cmp.Diff(want, s.copied(t, tree)); diff != "" {
		t.Error(diff)
	}
	b, err := os.Stat(tree.Lowers[0] + "/b")
	must(t, err)
	c, err := os.Stat(tree.Lowers[0] + "/c")
	must(t, err)
	if !os.SameFile(b, c) {
		t.Error("two links to one file became two files")
	}
}

// TestDependencyOnOCI: a layered image can be a dependency.
func TestDependencyOnOCI(t *testing.T) {
	s := open(t)
	s.oci(t, "example.com/oci", storetest.Tar(t, file{Name: "x", Content: "1"}, file{Name: "gone", Content: "1"}),
		storetest.Tar(t, file{Name: "x", Content: "2"}, file{Name: ".wh.gone"}))
	app, _ := s.aci(t, dependent("example.com/app", "example.com/oci"), file{Name: "gone", Content: "mine"})
	got := s.copied(t, s.render(t, app))
	if got["x"] != "2" || got["gone"] != "mine" {
		t.Errorf("%v", got)
	}
}
