// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"os"
	"path/filepath"
	"syscall"
)

// CacheDir is where the dear fixtures live: RKT_CACHE, by default the
// directory that the Makefile uses.
func CacheDir(t T) string {
	t.Helper()
	dir := os.Getenv("RKT_CACHE")
	if dir == "" {
		dir = "/var/cache/rkt-build"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	return dir
}

// Cached returns the directory name below the cache and calls fill to make it
// (dir does not exist then) when it is not there. Other processes wait meanwhile; a crash leaves nothing
// under the final name.
func Cached(t T, name string, fill func(dir string)) string {
	t.Helper()
	dir := CacheDir(t)
	lock, err := os.OpenFile(filepath.Join(dir, "."+name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("lock %s: %v", lock.Name(), err)
	}
	final := filepath.Join(dir, name)
	if _, err := os.Stat(final); err == nil {
		return final
	}
	tmp := filepath.Join(dir, "."+name+".new")
	if err := os.RemoveAll(tmp); err != nil {
		t.Fatalf("%v", err)
	}
	fill(tmp)
	if err := os.Rename(tmp, final); err != nil {
		t.Fatalf("%v", err)
	}
	return final
}
