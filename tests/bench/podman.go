// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/tests/harness"
)

// podman is a store of podman with one image, and how containers of it can be
// run on this machine.
type podman struct {
	b       *bench
	root    string
	runtime string
	limits  []string // flags
}

const (
	podmanDriverName = "overlay"
	podmanImage      = "localhost/tiny:1"
	podmanParent     = "libpod_parent" // the cgroup that podman leaves behind
)

// newPodman imports a tree that has /bin/true and tries the runtimes.
func (b *bench) newPodman(tree string) *podman {
	if _, err := exec.LookPath("podman"); err != nil {
		b.Fatalf("podman is missing: install it with \"make deps-bench\"")
	}
	b.removeParentLater()
	p := &podman{b: b, root: b.TempDir()}
	b.Cleanup(func() { b.podmanRemove(podmanDriverName, p.root) })
	archive := filepath.Join(b.TempDir(), "tree.tar")
	b.timed(exec.Command("tar", "-C", tree, "-cf", archive, "."))
	b.timed(b.podman(podmanDriverName, p.root, "import", "--quiet", archive, podmanImage))
	// podman raises the limits of processes and of open files, which takes a
	// capability that root has not everywhere.
	for _, limits := range [][]string{nil, {"--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"}} {
		for _, runtime := range []string{"crun", "runc"} {
			p.runtime, p.limits = runtime, limits
			out, err := p.run().CombinedOutput()
			if err == nil {
				b.Logf("bench: podman uses %s, cgroupfs, overlay %s", runtime, strings.Join(limits, " "))
				return p
			}
			b.Logf("bench: podman with %s %s does not work here: %s", runtime, strings.Join(limits, " "), strings.TrimSpace(string(out)))
		}
	}
	b.Fatalf("podman cannot run a container here")
	return nil
}

// run is the command that runs a container of the image, without a network unless
// a flag gives it one.
func (p *podman) run(flags ...string) *exec.Cmd {
	if !slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "--network=") }) {
		flags = append([]string{"--network=none"}, flags...)
	}
	args := slices.Concat([]string{"--cgroup-manager=cgroupfs", "--runtime=" + p.runtime, "run", "--rm"}, p.limits, flags, []string{podmanImage, "/bin/true"})
	return p.b.podman(podmanDriverName, p.root, args...)
}

func (p *podman) String() string { return "podman run --rm --network=none" }

// how tells what it uses, for whoever reads the table.
func (p *podman) how() string {
	return fmt.Sprintf("(podman with %s)", strings.Join(append([]string{p.runtime, "cgroupfs", podmanDriverName}, p.limits...), " "))
}

// removeParentLater removes podman's cgroup at the end if it is not there now.
func (b *bench) removeParentLater() {
	before := parents()
	b.Cleanup(func() {
		for _, dir := range parents() {
			if slices.Contains(before, dir) {
				continue
			}
			if err := removeCgroup(dir); err != nil {
				b.Errorf("%v", err)
			}
		}
	})
}

func parents() []string {
	one, _ := filepath.Glob("/sys/fs/cgroup/" + podmanParent)
	all, _ := filepath.Glob("/sys/fs/cgroup/*/" + podmanParent)
	own, _ := filepath.Glob("/sys/fs/cgroup/*/*/*/" + podmanParent)
	return slices.Concat(one, all, own)
}

// removeCgroup removes a group that has no processes, and those below it.
func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tiny is the trivial image in a store of rkt, and the same tree for others.
func (b *bench) tiny(h *harness.Host) (image, tree string) {
	entries := harness.TinyEntries(b)
	image = h.Fetch(harness.ACI(b, harness.Manifest("example.com/tiny", "1", map[string]any{"exec": []string{"/bin/true"}}), entries))
	tree = filepath.Join(b.TempDir(), "rootfs")
	h.OK("image", "render", "--rootfs-only", "--overwrite", image, tree)
	return image, tree
}

// measuredRkt measures n copies of a command of rkt at once.
func (b *bench) measuredRkt(h *harness.Host, n int, args ...string) measurement {
	return b.measured(n, nil, h.Cmd(context.Background(), args...))
}

// coreosHost is a host whose pods have the default stage1.
func (b *bench) coreosHost() *harness.Host {
	h := harness.NewHost(b)
	h.Stage1 = harness.Coreos
	return h
}

func copies(n int, image string, flags ...string) []string {
	args := []string{"run", "--net=none"}
	for i := range n {
		args = append(append(args, image, fmt.Sprintf("--name=app%d", i)), flags...)
	}
	return args
}
