// SPDX-License-Identifier: Apache-2.0

package unmount

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// place makes a directory and mounts on it until the test ends.
func place(t *testing.T, dir, source string, shared bool) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fstype, flags := "tmpfs", uintptr(0)
	if source != "" {
		fstype, flags = "", unix.MS_BIND
	} else {
		source = "tmpfs"
	}
	if err := unix.Mount(source, dir, fstype, flags, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if shared {
		if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func isMounted(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := Below(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if m.Mountpoint == dir {
			return true
		}
	}
	return false
}

func TestAll(t *testing.T) {
	testenv.NeedsRoot(t)
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pod, neighbour, source := base+"/pod", base+"/pod-2/mnt", base+"/source"
	place(t, neighbour, "", false)
	// A shared source with a mount in it: unmounting the pod's copy must not
	// take it away at the source.
	place(t, source, "", true)
	place(t, pod+"/volume", source, false)
	place(t, source+"/inner", "", false)
	if !isMounted(t, pod+"/volume/inner") {
		t.Fatal("the inner mount did not propagate into the pod: the test shows nothing")
	}
	// Covered by another, and the longer path is the parent.
	place(t, pod+"/very/long/path", "", false)
	place(t, pod+"/very/long/path", "", false)
	if err := All(pod, func(s string) { t.Logf("remark: %s", s) }); err != nil {
		t.Fatal(err)
	}
	if left, err := Below(pod); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, dir := range []string{neighbour, source, source + "/inner"} {
		if !isMounted(t, dir) {
			t.Errorf("%s was unmounted", dir)
		}
	}
	if err := All(pod, func(string) {}); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
}

// A link planted in the pod must not lead the unmount to the host.
func TestAllStaysInside(t *testing.T) {
	testenv.NeedsRoot(t)
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pod, host := base+"/pod", base+"/host"
	place(t, host+"/mnt", "", false)
	place(t, pod+"/dir/mnt", "", false)
	if err := os.Rename(pod+"/dir", pod+"/moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(host, pod+"/dir"); err != nil {
		t.Fatal(err)
	}
	if err := All(pod, func(string) {}); err != nil {
		t.Error(err)
	}
	if !isMounted(t, host+"/mnt") {
		t.Error("a mount of the host was taken away")
	}
}
