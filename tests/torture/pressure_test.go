// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/tests/harness"
)

func v1Config() v1.Config { return v1.Config{Entrypoint: []string{"/bin/true"}} }

// TestSmallDisk gives each command a disk that is too small by more and more,
// then room enough.
func TestSmallDisk(t *testing.T) {
	fx := newFixtures(t)
	steps := []int{200, 600, 1500, 3000, 5000, 7000, 9000, 12000}
	if os.Getenv("TORTURE") == "long" {
		steps = nil
		for kib := 100; kib < 16000; kib += 100 {
			steps = append(steps, kib)
		}
	}
	commands := map[string][]string{
		"fetch":   {"fetch", fx.aci},
		"oci":     {"fetch", "oci:" + fx.layout},
		"docker":  {"fetch", fx.docker},
		"prepare": {"prepare", fx.aci},
		"run":     {"run", "--net=host", fx.aci},
		"copy":    {"run", "--net=host", "--no-overlay", "oci:" + fx.layout},
	}
	failed := 0
	for name, args := range commands {
		for _, kib := range steps {
			t.Run(fmt.Sprintf("%s-%dKiB", name, kib), func(t *testing.T) {
				h := smallDisk(t, kib)
				first := h.Run(args...)
				if first.Status != 0 {
					failed++
					if !strings.Contains(first.Stderr, "no space left on device") {
						t.Errorf("the cause is missing from the message: %s", first)
					}
				}
				if err := unix.Mount("", filepath.Dir(h.Dir), "", unix.MS_REMOUNT, "size=256m"); err != nil {
					t.Fatal(err)
				}
				h.OK("image", "fsck", "--repair")
				if again := h.Run(args...); again.Status != 0 {
					t.Errorf("with room: %s\nafter: %s", again, first)
				}
				h.OK("image", "fsck")
				h.CollectAll()
			})
		}
	}
	if failed == 0 {
		t.Errorf("no disk was too small: the test shows nothing")
	}
}

// smallDisk is a host on a tmpfs of the size.
func smallDisk(t *testing.T, kib int) *harness.Host {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", kib)); err != nil {
		t.Fatal(err)
	}
	// cleanups run last first: the host's own comes before this one
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	h := harness.NewHostOn(t, filepath.Join(dir, "data"))
	h.Bin = harness.Program(t, "RKT_BIN", "rkt")
	h.Flags = []string{"--insecure-options=image,http"}
	return h
}
