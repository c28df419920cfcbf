// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// killWhen starts acbuild and kills it as soon as something is called like pattern.
func (l *lab) killWhen(pattern string, args ...string) {
	l.Helper()
	cmd := l.command(args...)
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	deadline := time.After(20 * time.Second)
	for {
		found, err := filepath.Glob(filepath.Join(l.dir, pattern))
		if err != nil {
			l.Fatal(err)
		}
		if len(found) > 0 {
			break
		}
		select {
		case err := <-done:
			l.Fatalf("acbuild %q ended before it could be killed: %v", args, err)
		case <-deadline:
			_ = cmd.Process.Kill()
			l.Fatalf("acbuild %q did not make %s", args, pattern)
		case <-time.After(time.Millisecond):
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		l.Fatalf("acbuild %q ended before it could be killed: %v", args, err)
	}
	if err := <-done; err == nil {
		l.Fatalf("acbuild %q was not killed", args)
	}
}

// next runs a command as soon as what was killed has let go of the build.
func (l *lab) next(args ...string) {
	l.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		status, _, errs := l.run(args...)
		if status == 0 {
			return
		}
		if !strings.Contains(errs, "lock already held") || time.Now().After(deadline) {
			l.Fatalf("acbuild %q: status %d\n%s", args, status, errs)
		}
	}
}

// nothingLeft checks that the directory and the build have only what they should.
func (l *lab) nothingLeft(want ...string) {
	l.Helper()
	for dir, want := range map[string][]string{".": want, ".acbuild": {"buildMode", "currentaci"}} {
		var got []string
		entries, err := os.ReadDir(filepath.Join(l.dir, dir))
		if err != nil {
			l.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "ociblobs" {
				got = append(got, e.Name())
			}
		}
		if !slices.Equal(got, want) {
			l.Errorf("%s has %q, not %q", dir, got, want)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		l.Fatal(err)
	}
	if strings.Contains(string(mounts), l.dir) {
		l.Errorf("something is mounted:\n%s", mounts)
	}
}

// huge makes a file that nobody copies in the time of a test.
func (l *lab) huge(name string) {
	l.Helper()
	f, err := os.Create(filepath.Join(l.dir, name))
	if err != nil {
		l.Fatal(err)
	}
	if err := errors.Join(f.Truncate(1<<38), f.Close()); err != nil {
		l.Fatal(err)
	}
}

func TestBeginKilled(t *testing.T) {
	l := &lab{t, t.TempDir()}
	l.file("tree/a", "a")
	l.huge("tree/huge")
	l.killWhen(".acbuild/currentaci.tmp/rootfs/huge", "begin", "./tree")
	if status, _, errs := l.run("set-name", "a"); status != 1 || !strings.Contains(errs, "no build in progress") {
		t.Errorf("%d %s", status, errs)
	}
	if err := os.Remove(filepath.Join(l.dir, "tree/huge")); err != nil {
		t.Fatal(err)
	}
	l.next("begin", "./tree")
	l.nothingLeft(".acbuild", "tree")
	l.must("end")
}

func TestCopyKilled(t *testing.T) {
	l := &lab{t, t.TempDir()}
	l.huge("huge")
	l.must("begin")
	l.killWhen(".acbuild/staging/huge", "copy", "huge", "/huge")
	l.next("set-name", "a")
	l.nothingLeft(".acbuild", "huge")
	if got := l.tree(); !slices.Equal(got, []string{""}) {
		t.Errorf("the image has %q", got)
	}
	l.killWhen(".acbuild/staging/huge", "copy-to-dir", "huge", "/")
	l.must("end")
	if entries, err := os.ReadDir(l.dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestWriteKilled(t *testing.T) {
	l := &lab{t, t.TempDir()}
	data := make([]byte, 64<<20)
	_, _ = rand.Read(data) // never fails
	l.file("data", string(data))
	l.must("begin", "--build-mode=oci")
	l.must("copy", "data", "/data")
	l.must("layer")
	l.must("copy", "data", "/two")
	for _, args := range [][]string{
		{"write", "--format=oci-archive", "out.tar"},
		{"write", "--format=oci-layout", "out"},
	} {
		l.killWhen(".acbuild-tmp-*", args...)
		l.next("set-exec", "/a")
		l.nothingLeft(".acbuild", "data")
	}
	l.must("end")
	l.must("begin")
	l.must("set-name", "a")
	l.must("copy", "data", "/data")
	l.killWhen(".acbuild-tmp-*", "write", "--compression=zstd:22", "a.aci")
	l.next("write", "--compression=none", "a.aci")
	l.nothingLeft(".acbuild", "a.aci", "data")
	l.killWhen(".acbuild-tmp-*", "write", "--overwrite", "--compression=zstd:22", "a.aci")
	l.must("end")
	if _, err := os.Stat(filepath.Join(l.dir, "a.aci")); err != nil {
		t.Error(err)
	}
	if found, _ := filepath.Glob(filepath.Join(l.dir, ".*")); len(found) > 0 {
		t.Errorf("%q is left", found)
	}
}

// A note of another's making removes nothing.
func TestHostileOutputNote(t *testing.T) {
	l := &lab{t, t.TempDir()}
	l.must("begin")
	l.file("precious", "x")
	for _, note := range []string{filepath.Join(l.dir, "precious"), "/", "", ".acbuild-tmp-x", l.dir + "/.acbuild-tmp-x/../precious"} {
		if err := os.WriteFile(filepath.Join(l.dir, ".acbuild/output"), []byte(note), 0o600); err != nil {
			t.Fatal(err)
		}
		l.must("cat-manifest")
		if _, err := os.Stat(filepath.Join(l.dir, "precious")); err != nil {
			t.Errorf("%q: %v", note, err)
		}
	}
	l.must("end")
}

// A run on top of dependencies leaves no mount and no file when it is killed.
func TestRunKilledOverlay(t *testing.T) {
	testenv.NeedsOverlay(t)
	l := newLab(t)
	dir := t.TempDir()
	l.makeBase(dir, "base", map[string]string{"etc/base": "1"})
	t.Setenv("HTTPS_PROXY", serveImages(t, dir))
	l.must("dep", "add", "images.test/base")
	flags := []string{"run", "--engine=chroot", "--insecure", "--insecure-options=image", "--"}
	l.killWhen(".acbuild/currentaci/rootfs/started", append(flags, "sh", "-c", "touch /started; exec sleep 1000")...)
	l.next("set-name", "a")
	for _, name := range []string{"target", "work", "scratch", "staging", "lock"} {
		if _, err := os.Lstat(filepath.Join(l.dir, ".acbuild", name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
	l.must(append(flags, "ls", "/etc/base", "/started")...)
	l.sameTree(l.tree())
}
