// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"fmt"
	"strconv"
	"strings"
)

// Files of the image, by absolute path below the root that qemu sees.
const (
	Loader      = "/usr/lib/rkt/ld.so"
	LibraryPath = "/usr/lib"
	Qemu        = "/usr/bin/qemu-system-x86_64"
	QemuData    = "/usr/share/qemu"
	QemuModules = "/usr/lib/x86_64-linux-gnu/qemu"
	Virtiofsd   = "/usr/lib/qemu/virtiofsd"
	Kernel      = "/usr/lib/rkt/kvm/vmlinux"
	Initramfs   = "/usr/lib/rkt/kvm/initramfs"
)

// Accel is who executes the guest's instructions.
type Accel string

// The two.
const (
	KVM Accel = "kvm" // the processor
	TCG Accel = "tcg" // qemu, in software: many times slower
)

// Machine is one start of qemu. Descriptors are numbers that it inherits.
type Machine struct {
	Accel  Accel
	Size   Size
	Kernel string // empty: that of the image
	Append string // further words for the kernel
	Debug  bool
	// ShareFD is connected to virtiofsd, AgentFD to the supervisor; both are
	// sockets. -1: none.
	ShareFD, AgentFD int
	ShareTag         string
	AgentPort        string // name of the port
	Cards            []Card
}

// Card is a network card of the machine.
type Card struct {
	FD  int // of a tap
	MAC string
}

// Argv is the argument list, for a root that is the tree of stage1.
func (m Machine) Argv() []string { return m.ArgvBelow("") }

// Env is the environment of qemu below a root.
func Env(root string) []string { return []string{"QEMU_MODULE_DIR=" + root + QemuModules} }

// ArgvBelow is the argument list where the tree of stage1 is at a path.
func (m Machine) ArgvBelow(tree string) []string {
	kernel := m.Kernel
	if kernel == "" {
		kernel = tree + Kernel
	}
	memory := strconv.Itoa(m.Size.Memory) + "M"
	argv := []string{
		tree + Loader, "--library-path", tree + LibraryPath, tree + Qemu,
		"-L", tree + QemuData,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-machine", "q35,usb=off,smbus=off,sata=off,vmport=off,memory-backend=mem,accel=" + string(m.Accel),
		"-cpu", m.cpu(),
		"-smp", strconv.Itoa(m.Size.CPUs), "-m", memory,
		// Shared, because virtiofsd reads what the guest asks for in there.
		"-object", "memory-backend-memfd,id=mem,share=on,size=" + memory,
		"-kernel", kernel, "-initrd", tree + Initramfs, "-append", m.commandLine(),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-device", "virtio-rng-pci",
	}
	if m.ShareFD >= 0 {
		argv = append(argv,
			"-chardev", fmt.Sprintf("socket,id=share,fd=%d", m.ShareFD),
			"-device", "vhost-user-fs-pci,chardev=share,queue-size=1024,tag="+m.ShareTag)
	}
	if m.AgentFD >= 0 {
		argv = append(argv,
			"-chardev", fmt.Sprintf("socket,id=agent,fd=%d", m.AgentFD),
			"-device", "virtio-serial-pci,max_ports=2", "-device", "virtserialport,chardev=agent,name="+m.AgentPort)
	}
	for i, c := range m.Cards {
		id := "net" + strconv.Itoa(i)
		argv = append(argv,
			"-netdev", fmt.Sprintf("tap,id=%s,fd=%d", id, c.FD),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=%s,mac=%s,romfile=", id, c.MAC))
	}
	return argv
}

// cpu is the host's processor, or in software one of x86-64-v2, which programs of
// distributions are built for: everything that is newer costs a third of a start
// and is no faster.
func (m Machine) cpu() string {
	if m.Accel == KVM {
		return "host"
	}
	return "Nehalem"
}

// commandLine is what the kernel is told. A guest that panics resets the
// machine, which ends it (-no-reboot).
func (m Machine) commandLine() string {
	words := []string{"console=ttyS0", "panic=-1", "no_timer_check", "rdinit=/init", "systemd.unified_cgroup_hierarchy=1"}
	if m.Accel == TCG {
		// There is no speculation to be protected from.
		words = append(words, "mitigations=off", "tsc=unstable")
	}
	if !m.Debug {
		words = append(words, "quiet", "loglevel=1")
	}
	if m.Append != "" {
		words = append(words, m.Append)
	}
	return strings.Join(words, " ")
}

// VirtiofsdArgv is how virtiofsd is called, below the root of a stage1 tree: it
// shares the directory source, an absolute path, with the one who is connected to the listening
// socket fd. It confines itself: namespaces of its own, the directory as its
// root, a filter, and the capabilities that files of others need. Without
// CAP_MKNOD the guest's root makes no devices.
func VirtiofsdArgv(root string, fd int, source string) []string {
	return []string{
		root + Loader, "--library-path", root + LibraryPath, root + Virtiofsd,
		"-f", "--fd=" + strconv.Itoa(fd),
		"-o", "source=" + strings.NewReplacer(`\`, `\\`, ",", `\,`).Replace(source),
		"-o", "cache=auto", "-o", "sandbox=namespace", "-o", "xattr", "-o", "modcaps=-mknod", "-o", "log_level=err",
	}
}
