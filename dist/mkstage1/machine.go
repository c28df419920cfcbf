// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// machine gathers what stage1-kvm has beside stage1-coreos: qemu and virtiofsd
// from packages of the building machine, and a kernel from a package that need
// not be installed.
type machine struct {
	program string // the binary of stage1-kvm
	kernel  string // file of a package linux-image-…
}

const (
	kvmDir    = "usr/lib/rkt/kvm"
	kvmRun    = "kvm_run"
	kvmEnter  = "kvm_enter"
	guestInit = "init" // in the initramfs
)

// machinePrograms are taken as they are, with their libraries; machineData is
// what qemu opens to start a q35 with a kernel directly.
func machinePrograms() map[string]string {
	return map[string]string{
		"usr/bin/qemu-system-x86_64": "qemu-system-x86",
		"usr/lib/qemu/virtiofsd":     "qemu-system-common",
	}
}

func machineData() map[string]string {
	return map[string]string{
		// What executes the guest where the processor cannot, a part of qemu that
		// needs no library of its own.
		"usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so": "/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so",
		"usr/share/qemu/bios-256k.bin":                      "/usr/share/seabios/bios-256k.bin",
		"usr/share/qemu/kvmvapic.bin":                       "/usr/share/qemu/kvmvapic.bin",
		"usr/share/qemu/pvh.bin":                            "/usr/share/qemu/pvh.bin",
		"usr/share/qemu/linuxboot_dma.bin":                  "/usr/share/qemu/linuxboot_dma.bin",
	}
}

// files are those of installed packages: programs, by path in the image, and
// data.
func (m machine) files() (programs, data map[string]string, err error) {
	programs, data = map[string]string{}, map[string]string{}
	for name, pkg := range machinePrograms() {
		if programs[name], err = filepath.EvalSymlinks("/" + name); err != nil {
			return nil, nil, fmt.Errorf("%w: install the Debian package %s (make deps-kvm does)", err, pkg)
		}
	}
	for name, file := range machineData() {
		if data[name], err = filepath.EvalSymlinks(file); err != nil {
			return nil, nil, fmt.Errorf("%w: install the Debian packages qemu-system-x86, qemu-system-common and seabios (make deps-kvm does)", err)
		}
	}
	return programs, data, nil
}

// add puts the kernel, the initramfs and the program into the tree, and returns
// the package that the kernel is from.
func (m machine) add(t tree) (debianPackage, error) {
	if m.program == "" || m.kernel == "" {
		return debianPackage{}, errors.New("want -kvm and -kernel")
	}
	body, err := os.ReadFile(m.program)
	if err != nil {
		return debianPackage{}, err
	}
	t.file(kvmEnter, 0o755, body)
	t.hardlink(kvmRun, kvmEnter)
	k, err := readKernel(m.kernel)
	if err != nil {
		return debianPackage{}, fmt.Errorf("%s: %w", m.kernel, err)
	}
	image, err := k.vmlinux()
	if err != nil {
		return debianPackage{}, fmt.Errorf("%s: %w", m.kernel, err)
	}
	modules, err := k.ordered(guestModules())
	if err != nil {
		return debianPackage{}, fmt.Errorf("%s: %w", m.kernel, err)
	}
	t.file(kvmDir+"/vmlinux", 0o644, image)
	t.file(kvmDir+"/initramfs", 0o644, initramfs(body, modules))
	t.file(filepath.Join("usr/share/doc", k.pkg.name, "copyright"), 0o644, k.licence)
	for _, dir := range []string{"dev", "proc", "sys"} {
		if _, ok := t[dir]; !ok {
			t.dir(dir, 0o755)
		}
	}
	return k.pkg, nil
}

// guestModules are what a guest needs that is not in the kernel. Nothing in it
// loads more.
func guestModules() []string {
	return []string{"virtio_pci", "virtio_console", "virtiofs", "virtio_net", "virtio_blk", "virtio_rng"}
}

// initramfs is the first root of a guest: a program and modules, not
// compressed, because that would take the guest longer than reading it.
func initramfs(program []byte, modules []module) []byte {
	c := &cpio{}
	for _, dir := range []string{"dev", "modules", "proc", "root", "sys"} {
		c.add(dir, 0o40755, nil)
	}
	c.add(guestInit, 0o100755, program)
	var list []byte
	for _, m := range modules {
		c.add("modules/"+m.file, 0o100644, m.body)
		list = append(list, m.file+"\n"...)
	}
	c.add("modules/list", 0o100644, list)
	return c.end()
}

// sortedFiles are the values of maps, each once, in order.
func sortedFiles(all ...map[string]string) []string {
	var list []string
	for _, m := range all {
		list = append(list, slices.Collect(maps.Values(m))...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
