// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"os"
	"path/filepath"
	"strings"
)

// DebianTree is a directory with a minimal Debian of this machine's release.
// It is shared: copy it.
func DebianTree(t T) string {
	t.Helper()
	codename, _ := debianRelease(t)
	return Cached(t, "debian-tree-"+codename, func(dir string) {
		t.Logf("making a minimal Debian (once; kept in %s)", CacheDir(t))
		Debootstrap(t, dir)
	})
}

// Debootstrap makes a directory of a minimal Debian of this machine's release
// with further packages.
func Debootstrap(t T, root string, include ...string) {
	t.Helper()
	debs := filepath.Join(CacheDir(t), "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	codename, mirror := debianRelease(t)
	args := []string{"--mount", "debootstrap", "--variant=minbase", "--cache-dir=" + debs}
	if len(include) > 0 {
		args = append(args, "--include="+strings.Join(include, ","))
	}
	args = append(args, codename, root)
	if mirror != "" {
		args = append(args, mirror)
	}
	Command(t, "unshare", args...) // it mounts /proc in the new root
	for _, p := range []string{"var/cache/apt/archives", "var/lib/apt/lists"} {
		Command(t, "find", filepath.Join(root, p), "-type", "f", "-delete")
	}
}
