// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// onThread runs f on a thread that ends with it, whatever f does to it.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// netns is a network namespace that lives as long as its descriptor.
type netns int

func newNetns(t testing.TB) netns {
	t.Helper()
	fd := -1
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return netns(fd)
}

// do runs f on a thread in the namespace.
func (n netns) do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

func (n netns) must(t testing.TB, f func() error) {
	t.Helper()
	if err := n.do(f); err != nil {
		t.Fatal(err)
	}
}

// run returns the output of a program in the namespace.
func (n netns) run(t testing.TB, words ...string) string {
	t.Helper()
	path := testenv.NeedsProgram(t, words[0])
	var out string
	n.must(t, func() error {
		var err error
		out, err = run("", path, words[1:]...)
		return err
	})
	return out
}

// inside is a backend whose calls happen in a namespace.
type inside struct {
	Backend
	ns netns
}

func (b inside) Add(p Pod) error { return b.ns.do(func() error { return b.Backend.Add(p) }) }

func (b inside) Remove(id string) error {
	return b.ns.do(func() error { return b.Backend.Remove(id) })
}

func (b inside) RemoveNetwork(id, network string) error {
	return b.ns.do(func() error { return b.Backend.RemoveNetwork(id, network) })
}

func (b inside) missing(t testing.TB, p Pod) string {
	t.Helper()
	var words []string
	b.ns.must(t, func() error {
		var err error
		words, err = b.Missing(p)
		return err
	})
	return strings.Join(words, "; ")
}

func (b inside) ids(t testing.TB) string {
	t.Helper()
	var ids []string
	b.ns.must(t, func() error {
		var err error
		ids, err = b.IDs()
		return err
	})
	return fmt.Sprintf("%.60q", ids)
}

func (b inside) mustAdd(t testing.TB, p Pod) {
	t.Helper()
	if err := b.Add(p); err != nil {
		t.Fatal(err)
	}
	for _, w := range b.Warnings() {
		t.Errorf("warning: %s", w)
	}
}

// eachBackend runs a test with every backend in a namespace of its own.
func eachBackend(t *testing.T, f func(*testing.T, inside)) {
	testenv.NeedsRoot(t)
	t.Run("nftables", func(t *testing.T) {
		ns := newNetns(t)
		ns.must(t, probeNft)
		f(t, inside{newNft(), ns})
	})
	for _, variant := range []string{"-nft", "-legacy"} {
		t.Run("iptables"+variant, func(t *testing.T) {
			f(t, inside{newTestXtables(t, variant), newNetns(t)})
		})
	}
}

func newTestXtables(t testing.TB, variant string) *xtables {
	t.Helper()
	testenv.NeedsProgram(t, "iptables"+variant)
	v4, err4 := findPrograms(false, variant)
	v6, err6 := findPrograms(true, variant)
	if err4 != nil || err6 != nil {
		t.Fatal(err4, err6)
	}
	return &xtables{v4: v4, v6: v6, lock: filepath.Join(t.TempDir(), "lock")}
}

// golden compares with a file of testdata; UPDATE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s", path, got)
	}
}
