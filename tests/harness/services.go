// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"os"
	"path/filepath"
	"strings"
)

// NginxLayout is an OCI layout (tag Tag) of Debian with its nginx, which reads
// /etc/nginx/nginx.conf and stays in the foreground.
func NginxLayout(t T) string {
	t.Helper()
	return Cached(t, "nginx", func(dir string) {
		t.Logf("making the nginx image (once; kept in %s)", CacheDir(t))
		serviceLayout(t, dir, []string{"nginx-light"}, nil,
			"--config.entrypoint=/usr/sbin/nginx", "--config.cmd=-g", "--config.cmd=daemon off;", "--config.exposedports=80/tcp")
	})
}

// PostgresLayout is an OCI layout (tag Tag) of Debian with its PostgreSQL: no
// cluster is in it, the programs are in PATH, the user is postgres.
func PostgresLayout(t T) string {
	t.Helper()
	return Cached(t, "postgresql", func(dir string) {
		t.Logf("making the PostgreSQL image (once; kept in %s)", CacheDir(t))
		serviceLayout(t, dir, []string{"postgresql", "libpq5"},
			map[string]string{"etc/postgresql-common/createcluster.conf": "create_main_cluster = false\n"},
			"--config.user=postgres", "--config.cmd=/bin/sh")
	})
}

// serviceLayout makes an OCI layout in dir of Debian and packages that would
// start a service when they are configured. Files are put in before that, by
// their path; nothing may be started by the packages' scripts.
func serviceLayout(t T, dir string, include []string, files map[string]string, config ...string) {
	t.Helper()
	work, err := os.MkdirTemp(CacheDir(t), ".work-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	debs := filepath.Join(CacheDir(t), "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	Command(t, "umoci", "init", "--layout", dir)
	Command(t, "umoci", "new", "--image", dir+":"+Tag)
	bundle := filepath.Join(work, "bundle")
	Command(t, "umoci", "unpack", "--image", dir+":"+Tag, bundle)
	root := filepath.Join(bundle, "rootfs")
	codename, mirror := debianRelease(t)
	args := []string{"debootstrap", "--foreign", "--variant=minbase", "--cache-dir=" + debs, "--include=" + strings.Join(include, ","), codename, root}
	if mirror != "" {
		args = append(args, mirror)
	}
	// in a mount namespace: debootstrap mounts /proc in the new root
	Command(t, "unshare", append([]string{"--mount"}, args...)...)
	const never = "usr/sbin/policy-rc.d" // 101: the action is not allowed (invoke-rc.d)
	put := map[string]string{never: "#!/bin/sh\nexit 101\n"}
	for name, body := range files {
		put[name] = body
	}
	for name, body := range put {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatalf("%v", err)
		}
		if err := os.WriteFile(p, []byte(body), 0o755); err != nil {
			t.Fatalf("%v", err)
		}
	}
	Command(t, "unshare", "--mount", "--uts", "chroot", root, "/usr/bin/env", "-i", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C",
		"PATH="+servicePath, "/debootstrap/debootstrap", "--second-stage")
	if err := os.RemoveAll(filepath.Join(root, never)); err != nil { // debootstrap may have taken it for its own
		t.Fatalf("%v", err)
	}
	for _, p := range []string{"var/cache/apt/archives", "var/lib/apt/lists"} {
		Command(t, "find", filepath.Join(root, p), "-type", "f", "-delete")
	}
	Command(t, "umoci", "repack", "--image", dir+":"+Tag, bundle)
	config = append(config, "--config.env=PATH="+servicePath)
	Command(t, "umoci", append([]string{"config", "--image", dir + ":" + Tag}, config...)...)
	Command(t, "umoci", "gc", "--layout", dir)
}

const servicePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
