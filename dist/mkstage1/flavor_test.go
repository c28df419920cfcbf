// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
)

const staticFiles = "../stage1"

// noDpkg fails the test if it is asked.
func noDpkg(t *testing.T) dpkg {
	return dpkg{query: func(args ...string) (string, error) {
		t.Errorf("dpkg-query was asked %q", args)
		return "", os.ErrInvalid
	}}
}

func TestManifest(t *testing.T) {
	pod := map[string]string{
		"coreos.com/rkt/stage1/run":               "/init",
		"coreos.com/rkt/stage1/enter":             "/enter",
		"coreos.com/rkt/stage1/gc":                "/gc",
		"coreos.com/rkt/stage1/stop":              "/stop",
		"coreos.com/rkt/stage1/app/add":           "/app_add",
		"coreos.com/rkt/stage1/app/rm":            "/app_rm",
		"coreos.com/rkt/stage1/app/start":         "/app_start",
		"coreos.com/rkt/stage1/app/stop":          "/app_stop",
		"coreos.com/rkt/stage1/attach":            "/attach",
		"coreos.com/rkt/stage1/logs":              "/logs",
		"coreos.com/rkt/stage1/maps-users":        "true",
		"coreos.com/rkt/stage1/interface-version": "6",
		"coreos.com/rkt/stage1/net":               "/usr/lib/rkt/net",
		"coreos.com/rkt/stage1/netns":             "pinned",
		"coreos.com/rkt/stage1/plugins":           "example.com/plugins@v1.2.3",
	}
	coreos := maps.Clone(pod)
	coreos["coreos.com/rkt/stage1/packages"] = "libc6=2.36-9,systemd=1:252.39-1~deb12u2"
	packages := []debianPackage{{"libc6", "2.36-9"}, {"systemd", "1:252.39-1~deb12u2"}}
	for _, tc := range []struct {
		flavor   string
		packages []debianPackage
		want     map[string]string
	}{
		{"coreos", packages, coreos},
		{"host", nil, pod},
		{"kvm", packages, map[string]string{
			"coreos.com/rkt/stage1/run":               "/kvm_run",
			"coreos.com/rkt/stage1/enter":             "/kvm_enter",
			"coreos.com/rkt/stage1/gc":                "/gc",
			"coreos.com/rkt/stage1/stop":              "/stop",
			"coreos.com/rkt/stage1/logs":              "/logs",
			"coreos.com/rkt/stage1/interface-version": "6",
			"coreos.com/rkt/stage1/net":               "/usr/lib/rkt/net",
			"coreos.com/rkt/stage1/netns":             "pinned",
			"coreos.com/rkt/stage1/plugins":           "example.com/plugins@v1.2.3",
			"coreos.com/rkt/stage1/packages":          coreos["coreos.com/rkt/stage1/packages"],
		}},
		{"fly", nil, map[string]string{
			"coreos.com/rkt/stage1/run":               "/run",
			"coreos.com/rkt/stage1/enter":             "/enter",
			"coreos.com/rkt/stage1/gc":                "/gc",
			"coreos.com/rkt/stage1/stop":              "/stop",
			"coreos.com/rkt/stage1/gc-needs":          "cgroups,subcgroup",
			"coreos.com/rkt/stage1/interface-version": "6",
		}},
	} {
		f, err := findFlavor(tc.flavor)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := f.manifest("1.2.3", "arm64", sources{packages: tc.packages, plugins: "example.com/plugins@v1.2.3"})
		if err != nil {
			t.Fatal(err)
		}
		m, err := appc.ParseImageManifest(raw)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, a := range m.Annotations {
			got[string(a.Name)] = a.Value
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", tc.flavor, diff)
		}
		if want := "coreos.com/rkt/stage1-" + tc.flavor; string(m.Name) != want {
			t.Errorf("the name is %s, not %s", m.Name, want)
		}
		want := appc.Labels{{Name: "arch", Value: "aarch64"}, {Name: "os", Value: "linux"}, {Name: "version", Value: "1.2.3"}}
		if diff := cmp.Diff(want, m.Labels); diff != "" {
			t.Errorf("%s: %s", tc.flavor, diff)
		}
		if mutable := entrypoint.CheckMutable(m) == nil; mutable != (tc.flavor == "coreos" || tc.flavor == "host") {
			t.Errorf("%s: mutable pods: %v", tc.flavor, mutable)
		}
	}
}

// Every name of the program is in the image, and the places that stage1 and
// systemd expect.
func TestBuildHost(t *testing.T) {
	program := filepath.Join(t.TempDir(), "stage1")
	if err := os.WriteFile(program, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := options{flavor: "host", version: "1.2.3", arch: "amd64", program: program, files: staticFiles, net: testNetworks(t)}
	archive, err := o.build(noDpkg(t))
	if err != nil {
		t.Fatal(err)
	}
	lines := list(t, archive)
	for _, want := range []string{
		"0 rootfs/app_add -rwxr-xr-x  program",
		"1 rootfs/init -rwxr-xr-x rootfs/app_add ",
		"1 rootfs/launch -rwxr-xr-x rootfs/app_add ",
		"1 rootfs/post-stop -rwxr-xr-x rootfs/app_add ",
		"1 rootfs/logs -rwxr-xr-x rootfs/app_add ",
		"0 rootfs/usr/lib/rkt/net -rwxr-xr-x  network program",
		"1 rootfs/usr/lib/rkt/plugins/net/ptp -rwxr-xr-x rootfs/usr/lib/rkt/net ",
		"1 rootfs/usr/lib/rkt/plugins/net/flannel -rwxr-xr-x rootfs/usr/lib/rkt/net ",
		"2 rootfs/flavor Lrwxrwxrwx host ",
		"2 rootfs/bin Lrwxrwxrwx usr/bin ",
		"2 rootfs/etc/mtab Lrwxrwxrwx ../proc/self/mounts ",
		"2 rootfs/var/run Lrwxrwxrwx ../run ",
		"5 rootfs/opt/stage2/ drwxr-xr-x  ",
		"5 rootfs/rkt/status/ drwxr-xr-x  ",
		"5 rootfs/rkt/env/ drwxr-xr-x  ",
		"5 rootfs/rkt/iottymux/ drwxr-xr-x  ",
		"5 rootfs/rkt/volumes/ drwxr-xr-x  ",
		"5 rootfs/rkt/apps/ drwx------  ",
		"5 rootfs/tmp/ dtrwxrwxrwx  ",
		"5 rootfs/var/log/journal/ drwxr-xr-x  ",
		"0 rootfs/etc/os-release -rw-r--r--  ID=rkt\nNAME=rkt\nPRETTY_NAME=\"rkt stage1-host 1.2.3\"\nVERSION_ID=1.2.3\n",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, line := range lines {
		name := strings.Fields(line)[1]
		for _, never := range []string{"etc/machine-id", "etc/hostname", unitDir + "/default.target", "systemd-version", "etc/ld.so.cache", linkerLink} {
			if name == "rootfs/"+never {
				t.Errorf("%s is in the image", name)
			}
		}
	}
	o.version = "1\nEVIL=1"
	if _, err := o.build(noDpkg(t)); err == nil {
		t.Error("a line end in the version")
	}
}

// fly has nothing but itself.
func TestBuildFly(t *testing.T) {
	program := filepath.Join(t.TempDir(), "fly")
	if err := os.WriteFile(program, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	archive, err := options{flavor: "fly", version: "1.2.3", arch: "amd64", program: program}.build(noDpkg(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"5 rootfs/ drwxr-xr-x  ",
		"0 rootfs/enter -rwxr-xr-x  program",
		"5 rootfs/etc/ drwxr-xr-x  ",
		"1 rootfs/gc -rwxr-xr-x rootfs/enter ",
		"5 rootfs/opt/ drwxr-xr-x  ",
		"5 rootfs/opt/stage2/ drwxr-xr-x  ",
		"5 rootfs/rkt/ drwxr-xr-x  ",
		"5 rootfs/rkt/env/ drwxr-xr-x  ",
		"5 rootfs/rkt/status/ drwxr-xr-x  ",
		"1 rootfs/run -rwxr-xr-x rootfs/enter ",
		"1 rootfs/stop -rwxr-xr-x rootfs/enter ",
	}
	if diff := cmp.Diff(want, list(t, archive)[1:]); diff != "" {
		t.Error(diff)
	}
}
