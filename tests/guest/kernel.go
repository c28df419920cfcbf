// SPDX-License-Identifier: Apache-2.0

//go:build guest

package guest

import (
	"debug/elf"
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
	modules map[string]string // file of each module
}

// modulesOf are what a guest needs that is not in the kernel: its disk, overlays
// and networks. Nothing in it loads more: there is no modprobe. The host with
// cgroup v1 is old in this, too: it has iptables, and no nf_tables.
func modulesOf(host string) []string {
	all := strings.Fields(`virtio_pci virtio_blk overlay veth bridge br_netfilter macvlan ipvlan dummy
		iptable_filter ip6table_filter xt_comment xt_conntrack xt_addrtype xt_nat xt_MASQUERADE xt_tcpudp`)
	if host == "legacy" {
		return append(all, strings.Fields("iptable_nat ip6table_nat iptable_raw ip6table_raw")...)
	}
	return append(all, strings.Fields("nft_chain_nat nft_nat nft_masq nft_ct nft_fib_inet nft_compat")...)
}

// debianKernel is that of the newest linux-image-cloud package.
func debianKernel(t *testing.T) kernel {
	t.Helper()
	dir := harness.Cached(t, "guest-kernel", func(dir string) {
		t.Logf("downloading a kernel (once; kept in %s)", harness.CacheDir(t))
		name := ""
		for line := range strings.Lines(harness.Command(t, "apt-cache", "depends", "linux-image-cloud-amd64")) {
			if p, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); ok {
				name = "linux-image-" + p
			}
		}
		if name == "" {
			t.Fatalf("apt knows no linux-image-cloud-amd64: run \"apt-get update\"")
		}
		harness.Command(t, "sh", "-ec", `cd "$1" && apt-get download -qq "$2" && dpkg-deb -x ./*.deb "$3"`, "sh", t.TempDir(), name, dir)
	})
	k := kernel{modules: map[string]string{}}
	images, _ := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if len(images) != 1 {
		t.Fatalf("no kernel, or several, in %s: remove that directory", dir)
	}
	k.image = images[0]
	err := filepath.WalkDir(filepath.Join(dir, "lib", "modules"), func(p string, _ os.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(p), ".ko"); ok && err == nil {
			k.modules[strings.ReplaceAll(name, "-", "_")] = p
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// load lists modules with those that they need, these first.
func (k kernel) load(t *testing.T, names []string) (ordered []string) {
	t.Helper()
	for _, name := range names {
		if k.modules[name] == "" {
			t.Fatalf("the kernel has no module %s", name)
		}
		for _, m := range append(k.load(t, needs(t, k.modules[name])), name) {
			if !slices.Contains(ordered, m) {
				ordered = append(ordered, m)
			}
		}
	}
	return ordered
}

// needs reads which modules a module needs (section .modinfo: strings key=value).
func needs(t *testing.T, file string) []string {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Section(".modinfo").Data()
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for kv := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(kv, "depends="); ok && list != "" {
			return strings.Split(strings.ReplaceAll(list, "-", "_"), ",")
		}
	}
	return nil
}
