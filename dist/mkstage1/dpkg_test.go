// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/userspace"
)

func saying(out string, err error) dpkg {
	return dpkg{query: func(...string) (string, error) { return out, err }}
}

func TestOwners(t *testing.T) {
	partly := &exec.ExitError{}
	d := saying("libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6\n"+
		"diversion by dash from: /bin/sh\n"+
		"systemd: /usr/bin/systemctl\n"+
		"a:amd64, b:amd64: /usr/lib/shared\n", partly)
	got, err := d.owners([]string{"/usr/bin/systemctl", "/usr/lib/shared", "/usr/lib/x86_64-linux-gnu/libc.so.6"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"/usr/bin/systemctl": "systemd", "/usr/lib/shared": "a:amd64", "/usr/lib/x86_64-linux-gnu/libc.so.6": "libc6:amd64",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := d.owners([]string{"/usr/local/lib/libc.so.6"}); err == nil || err.Error() != "/usr/local/lib/libc.so.6 is in no package" {
		t.Errorf("a file of nobody: %v", err)
	}
	if _, err := saying("", exec.ErrNotFound).owners([]string{"/x"}); err == nil {
		t.Error("no dpkg-query")
	}
}

func TestVersions(t *testing.T) {
	got, err := saying("systemd\t252\nlibc6\t2.36\nlibc6\t2.36\n", nil).versions([]string{"libc6", "systemd"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]debianPackage{{"libc6", "2.36"}, {"systemd", "252"}}, got, cmp.AllowUnexported(debianPackage{})); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "systemd\n", "systemd\t\n", "\t252\n", "a\t1\nb\t2\nc\t3\n"} {
		if got, err := saying(bad, nil).versions([]string{"systemd", "libc6"}); err == nil {
			t.Errorf("%q gives %v", bad, got)
		}
	}
}

// The package to install is said when a program is missing.
func TestFindProgramMissing(t *testing.T) {
	_, err := userspace.Find(t.TempDir(), userspace.Programs())
	if err == nil || !strings.Contains(err.Error(), "no /usr/bin/systemd-nspawn: install the Debian package systemd-container") {
		t.Error(err)
	}
}
