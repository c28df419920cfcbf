// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// pull: a 600 MB image of eight layers from a registry on loopback, rkt and
// podman; then a second image that shares seven layers; the disk both take.
func pull(b *bench) []row {
	big := bigImages(b)
	addr := harness.DockerRegistry(b)
	one, two := harness.SkopeoPush(b, big.one, addr, "one"), harness.SkopeoPush(b, big.two, addr, "two")

	driver := b.podmanDriver(one)
	var peak int64
	rkt := func() time.Duration {
		h := b.emptyHost()
		defer b.remove(h.Dir)
		b.settle()
		s := b.timed(h.Cmd(context.Background(), "fetch", one))
		peak = max(peak, s.rss)
		return s.took
	}
	podman := func() time.Duration {
		root := b.TempDir()
		defer b.podmanRemove(driver, root)
		b.settle()
		return b.timed(b.podman(driver, root, "pull", "--quiet", "--tls-verify=false", one)).took
	}
	mine, theirs := pairs(b.long(), rkt, podman)
	ratio := mine.Seconds() / theirs.Seconds()
	rows := []row{
		{what: fmt.Sprintf("fetch + render of %s in 8 layers / podman pull (%s)", mib(big.unpacked), driver), rkt: seconds(mine), peer: seconds(theirs), ratio: fmt.Sprintf("%.2f", ratio), budget: "0.50", met: ratio <= 0.5},
		{what: "peak memory of that fetch", rkt: mib(peak), peer: "-", ratio: "-", budget: "64.0 MiB", met: peak <= 64<<20},
	}
	return append(rows, b.second(big, one, two, mine)...)
}

// second fetches one and then two into the same store.
func (b *bench) second(big images, one, two string, first time.Duration) []row {
	h := b.emptyHost()
	h.OK("fetch", one)
	h.OK("run", "--net=host", one, "--exec=/bin/true")
	disk := b.diskUsage(h.Dir)
	blobs := b.diskUsage(filepath.Join(h.Dir, "cas", "blob"))
	b.settle()
	s := b.timed(h.Cmd(context.Background(), "fetch", two))
	more := b.diskUsage(filepath.Join(h.Dir, "cas", "blob")) - blobs
	ideal := big.compressed + big.unpacked
	over := float64(disk) / float64(ideal)
	share := float64(big.lastCompressed) / float64(big.compressed)
	return []row{
		{
			what: "second image sharing 7 layers / first", rkt: seconds(s.took), peer: seconds(first), ratio: fmt.Sprintf("%.2f", s.took.Seconds()/first.Seconds()),
			budget: fmt.Sprintf("%.2f", share*1.5), met: s.took.Seconds()/first.Seconds() <= share*1.5, comment: fmt.Sprintf("(the eighth layer is %.0f %% of the image)", share*100),
		},
		{what: "bytes it added to the blobs / eighth layer", rkt: mib(more), peer: mib(big.lastCompressed), ratio: fmt.Sprintf("%.2f", float64(more)/float64(big.lastCompressed)), budget: "1.05", met: float64(more) <= 1.05*float64(big.lastCompressed)},
		{what: "disk after fetch and first run / (compressed + unpacked)", rkt: mib(disk), peer: mib(ideal), ratio: fmt.Sprintf("%.2f", over), budget: "1.15", met: over <= 1.15},
	}
}

func (b *bench) emptyHost() *harness.Host {
	h := harness.NewHost(b)
	h.Flags = []string{"--insecure-options=image,http"}
	return h
}

func (b *bench) remove(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		b.Errorf("%v", err)
	}
}

// settle lets earlier writes reach the disk, so that nobody pays for another.
func (b *bench) settle() { b.timed(exec.Command("sync")) }

func (b *bench) podman(driver, root string, args ...string) *exec.Cmd {
	global := []string{"--root", filepath.Join(root, "root"), "--runroot", filepath.Join(root, "run"), "--storage-driver", driver}
	return exec.Command("podman", append(global, args...)...)
}

func (b *bench) podmanRemove(driver, root string) {
	b.timed(b.podman(driver, root, "rmi", "--all", "--force"))
	_ = exec.Command("umount", filepath.Join(root, "root", driver)).Run()
	b.remove(root)
}

// podmanDriver is podman's own choice, overlay, if it works here, else vfs.
func (b *bench) podmanDriver(image string) string {
	if _, err := exec.LookPath("podman"); err != nil {
		b.Fatalf("podman is missing: install it with \"make deps-bench\"")
	}
	root := b.TempDir()
	out, err := b.podman("overlay", root, "pull", "--quiet", "--tls-verify=false", image).CombinedOutput()
	if err == nil {
		b.podmanRemove("overlay", root)
		return "overlay"
	}
	b.Logf("bench: podman with overlay does not work here, vfs instead: %s", out)
	return "vfs"
}
