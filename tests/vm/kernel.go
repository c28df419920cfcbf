// SPDX-License-Identifier: Apache-2.0

//go:build vm

package vm

import (
	"debug/elf"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// kernel is an unpacked package of a kernel.
type kernel struct {
	image   string            // file to boot
	version string            // as uname(1) says it
	tree    string            // directory of its modules
	modules map[string]string // file of each module
	builtin map[string]bool   // modules that the image has inside
}

// modulesOf are what a guest without systemd needs that is not in the kernel:
// its disk, overlays and networks. Nothing in it loads more: there is no
// modprobe. The host with cgroup v1 is old in this, too: it has iptables, and no
// nf_tables. A Debian needs its disk and loads the rest itself, when rkt first
// uses it.
func modulesOf(host string) []string {
	disk := []string{"virtio_pci", "virtio_blk", "ext4"}
	if host == systemd {
		return disk
	}
	all := append(disk, strings.Fields(`overlay veth bridge br_netfilter macvlan ipvlan dummy
		iptable_filter ip6table_filter xt_comment xt_conntrack xt_addrtype xt_nat xt_MASQUERADE xt_tcpudp`)...)
	if host == legacy {
		return append(all, strings.Fields("iptable_nat ip6table_nat iptable_raw ip6table_raw")...)
	}
	return append(all, strings.Fields("nft_chain_nat nft_nat nft_masq nft_ct nft_fib_inet nft_compat")...)
}

// kernel is that of the release's linux-image-cloud package, downloaded once.
func (r release) kernel(t *testing.T) kernel {
	t.Helper()
	dir := harness.Cached(t, "vm-kernel-"+r.codename, func(dir string) {
		defer phase(t, "the kernel of Debian "+r.number)()
		apt := r.apt(t)
		name := ""
		for line := range strings.Lines(harness.Command(t, "apt-cache", apt("depends", "linux-image-cloud-amd64")...)) {
			if p, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); ok {
				name = "linux-image-" + p
			}
		}
		if name == "" {
			t.Fatalf("apt knows no linux-image-cloud-amd64 of %s", r.codename)
		}
		debs := t.TempDir()
		harness.Command(t, "sh", append([]string{"-ec", `cd "$1" && shift && apt-get "$@" >/dev/null`, "sh", debs}, apt("download", name)...)...)
		// Debian 13 compresses modules; the program that loads them here does not.
		harness.Command(t, "sh", "-ec", `dpkg-deb -x "$1"/*.deb "$2" && find "$2" -name '*.ko.xz' -exec xz -d {} +`, "sh", debs, dir)
	})
	return readKernel(t, dir)
}

func readKernel(t *testing.T, dir string) kernel {
	t.Helper()
	k := kernel{modules: map[string]string{}, builtin: map[string]bool{}}
	images, _ := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if len(images) != 1 {
		t.Fatalf("no kernel, or several, in %s: remove that directory", dir)
	}
	k.image = images[0]
	k.version = strings.TrimPrefix(filepath.Base(k.image), "vmlinuz-")
	for _, lib := range []string{"lib", "usr/lib"} { // of 12, of 13
		tree := filepath.Join(dir, lib, "modules", k.version)
		if _, err := os.Stat(tree); err == nil {
			k.tree = tree
		}
	}
	err := filepath.WalkDir(k.tree, func(p string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(p), ".ko"); ok && err == nil {
			k.modules[strings.ReplaceAll(name, "-", "_")] = p
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(read(t, filepath.Join(k.tree, "modules.builtin")))) {
		name := strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko")
		k.builtin[strings.ReplaceAll(name, "-", "_")] = true
	}
	return k
}

// load lists modules with those that they need, these first.
func (k kernel) load(t *testing.T, names []string) (ordered []string) {
	t.Helper()
	for _, name := range names {
		if k.builtin[name] {
			continue
		}
		if k.modules[name] == "" {
			t.Fatalf("the kernel %s has no module %s", k.version, name)
		}
		for _, m := range append(k.load(t, needs(t, k.modules[name])), name) {
			if !slices.Contains(ordered, m) {
				ordered = append(ordered, m)
			}
		}
	}
	return ordered
}

// needs reads which modules a module needs (section .modinfo: strings
// key=value): for what it calls, and for what it looks up when it runs.
func needs(t *testing.T, file string) (all []string) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	section := f.Section(".modinfo")
	if section == nil {
		t.Fatalf("%s has no .modinfo: it is no module", file)
	}
	info, err := section.Data()
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for kv := range strings.SplitSeq(string(info), "\x00") {
		list, ok := strings.CutPrefix(kv, "depends=")
		if soft, is := strings.CutPrefix(kv, "softdep=pre: "); is {
			list, ok = strings.ReplaceAll(soft, " ", ","), true
		}
		if ok && list != "" {
			all = append(all, strings.Split(strings.ReplaceAll(list, "-", "_"), ",")...)
		}
	}
	return all
}
