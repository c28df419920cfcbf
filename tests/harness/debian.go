// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tag is the tag of every image in the cached layouts.
const Tag = "latest"

// DebianLayout is an OCI layout (tag Tag) of a minimal Debian made by
// debootstrap from the mirror this machine's apt uses.
func DebianLayout(t T) string {
	t.Helper()
	return Cached(t, "debian", func(dir string) {
		t.Logf("making the Debian image (once; kept in %s)", CacheDir(t))
		debootstrapLayout(t, dir, nil, "--config.cmd=/bin/sh", "--config.env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	})
}

// RedisLayout is an OCI layout (tag Tag) of the same Debian with redis-server.
func RedisLayout(t T) string {
	t.Helper()
	return Cached(t, "redis", func(dir string) {
		t.Logf("making the redis image (once; kept in %s)", CacheDir(t))
		debootstrapLayout(t, dir, []string{"redis-server"},
			"--config.entrypoint=/usr/bin/redis-server", "--config.user=redis", "--config.volume=/var/lib/redis", "--config.exposedports=6379/tcp",
			"--config.workingdir=/var/lib/redis", "--config.env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	})
}

// debootstrapLayout makes an OCI layout in dir.
func debootstrapLayout(t T, dir string, include []string, config ...string) {
	t.Helper()
	work, err := os.MkdirTemp(CacheDir(t), ".work-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	Command(t, "umoci", "init", "--layout", dir)
	Command(t, "umoci", "new", "--image", dir+":"+Tag)
	bundle := filepath.Join(work, "bundle")
	Command(t, "umoci", "unpack", "--image", dir+":"+Tag, bundle)
	rootfs := filepath.Join(bundle, "rootfs")
	if len(include) == 0 {
		Command(t, "cp", "-a", DebianTree(t)+"/.", rootfs)
	} else {
		Debootstrap(t, rootfs, include...)
	}
	Command(t, "umoci", "repack", "--image", dir+":"+Tag, bundle)
	Command(t, "umoci", append([]string{"config", "--image", dir + ":" + Tag}, config...)...)
	Command(t, "umoci", "gc", "--layout", dir)
}

// debianRelease is this machine's release name and its apt mirror.
func debianRelease(t T) (codename, mirror string) {
	t.Helper()
	codename = keyOf("/etc/os-release", "VERSION_CODENAME")
	if codename == "" {
		t.Fatalf("no VERSION_CODENAME in /etc/os-release: the functional tests need a Debian")
	}
	out := Command(t, "apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
	for line := range strings.Lines(out) {
		name, uri, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && name == codename {
			return codename, uri
		}
	}
	return codename, ""
}

func keyOf(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "="); ok && k == key {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

// Command runs a program of the machine that has to succeed and returns its
// standard output.
func Command(t T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is missing: install it with \"make deps\"", name)
	}
	cmd := exec.Command(name, args...)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, clip(errOut.String()), clip(string(out)))
	}
	return string(out)
}
