// SPDX-License-Identifier: Apache-2.0

//go:build functional

package escape

import (
	"archive/tar"
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// disk is a block device of the host with something on it.
func (f *field) disk() (major, minor int64) {
	f.Helper()
	file, err := os.Open("/proc/partitions")
	f.must(err)
	defer func() { _ = file.Close() }()
	for s := bufio.NewScanner(file); s.Scan(); {
		var blocks int64
		var name string
		if n, err := fmt.Sscan(s.Text(), &major, &minor, &blocks, &name); n == 4 && err == nil && blocks > 0 && !strings.HasPrefix(name, "loop") {
			return major, minor
		}
	}
	f.Fatalf("no disk in /proc/partitions")
	return 0, 0
}

// TestKernelDoors: an app with the default restrictions tries what a
// privileged process may do: processes, namespaces, sockets, keys, modules,
// control groups, mounts, masks, devices, and the other call tables.
func TestKernelDoors(t *testing.T) {
	eachFlavor(t, walls(), func(f *field) {
		major, minor := f.disk()
		node := harness.Entry{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "dev/of-the-image", Mode: 0o666, Devmajor: major, Devminor: minor}}
		deeds := map[string]any{"exec": []string{program, "deeds", "all"}}
		with := func(more map[string]any) map[string]any {
			m := map[string]any{}
			for _, from := range []map[string]any{deeds, more} {
				for k, v := range from {
					m[k] = v
				}
			}
			return m
		}
		entries := []harness.Entry{node}
		f.run(attack{name: "root", entries: entries, app: deeds, allow: contained})
		f.run(attack{name: "another user", entries: entries, app: with(map[string]any{"user": "1000", "group": "1000"}), allow: contained})
		f.run(attack{
			name: "pre-start", entries: entries, allow: contained,
			app: map[string]any{"exec": []string{program, "report"}, "user": "1000", "group": "1000", "eventHandlers": []map[string]any{{"name": "pre-start", "exec": []string{program, "deeds", "all"}}}},
		})
		f.run(attack{name: "post-stop", entries: entries, allow: contained, app: map[string]any{
			"exec": []string{program, "report"}, "eventHandlers": []map[string]any{{"name": "post-stop", "exec": []string{program, "deeds", "all"}}},
		}})
		f.run(attack{name: "read-only root", entries: entries, app: deeds, allow: contained, appFlags: []string{"--readonly-rootfs=true", "--mount=volume=t,target=/tmp"}, flags: []string{"--volume=t,kind=empty,mode=1777"}})
		f.run(attack{name: "empty filter of the image", entries: entries, allow: contained, app: map[string]any{ // @appc.io/all: none
			"exec":      []string{program, "deeds", "process", "chroot", "setuid", "cgroup", "mount", "mask", "write", "read", "device", "kernel.module", "kernel.syslog", "kernel.kmsg", "kernel.reboot", "kernel.handle", "kernel.kexec"},
			"isolators": []map[string]any{{"name": "os/linux/seccomp-retain-set", "value": map[string]any{"set": []string{"@appc.io/all"}}}},
		}})
		// An app that may look at every process finds no way out either. The pod's PID 1 is at its mercy
		// (docs/stage1-coreos.md), and with that the control groups of the pod as PID 1 sees them.
		f.run(attack{name: "with CAP_SYS_PTRACE", entries: entries, allow: contained, appFlags: []string{"--caps-retain=" + defaultNames + ",CAP_SYS_PTRACE"}, app: map[string]any{
			"exec": []string{program, "deeds", "chroot", "socket", "keyring", "setuid", "cgroup.mount-v1", "cgroup.mount-v2", "cgroup.release-agent", "cgroup.writable-tree", "mount", "mask", "write", "device", "namespace.unshare-user", "namespace.clone-user"},
		}})
		f.run(attack{name: "look with CAP_SYS_PTRACE", entries: entries, allow: contained, appFlags: []string{"--caps-retain=" + defaultNames + ",CAP_SYS_PTRACE,CAP_DAC_READ_SEARCH"}})
		f.run(attack{name: "devices with CAP_SYS_ADMIN", entries: entries, allow: contained, appFlags: []string{"--caps-retain=" + defaultNames + ",CAP_SYS_ADMIN,CAP_SYS_RAWIO"}, app: map[string]any{
			"exec": []string{program, "deeds", "device"},
		}})
		// With users of its own, root of the pod is nobody on the host, whatever it may do in the pod.
		private := []string{"--private-users"}
		most := "--caps-retain=" + defaultNames + ",CAP_SYS_ADMIN,CAP_SYS_PTRACE,CAP_DAC_READ_SEARCH,CAP_NET_ADMIN,CAP_SYS_RAWIO,CAP_SYS_MODULE,CAP_SYSLOG,CAP_SYS_BOOT"
		f.run(attack{name: "private users", entries: entries, app: deeds, flags: private, allow: contained})
		f.run(attack{name: "private users, look with many capabilities", entries: entries, flags: private, appFlags: []string{most}, allow: contained})
		f.run(attack{name: "private users, deeds with many capabilities", entries: entries, flags: private, appFlags: []string{most}, allow: contained, app: map[string]any{
			"exec": []string{program, "deeds", "device", "socket", "keyring.add-key", "keyring.keyctl", "kernel.module", "kernel.kexec", "kernel.kmsg", "kernel.syslog", "kernel.acct", "cgroup.writable-tree", "cgroup.release-agent"},
		}})
	})
}

const defaultNames = "CAP_AUDIT_WRITE,CAP_CHOWN,CAP_DAC_OVERRIDE,CAP_FSETID,CAP_FOWNER,CAP_KILL,CAP_MKNOD,CAP_NET_RAW,CAP_NET_BIND_SERVICE,CAP_SETUID,CAP_SETGID,CAP_SETPCAP,CAP_SETFCAP,CAP_SYS_CHROOT"

// TestSetuid: a program that changes who it is does not help an app that is
// not root.
func TestSetuid(t *testing.T) {
	eachFlavor(t, walls(), func(f *field) {
		suid := harness.File("bin/suid", 0o4755, string(f.attacker))
		capable := harness.File("bin/capable", 0o755, string(f.attacker))
		// cap_setuid=ep (struct vfs_cap_data version 2)
		capable.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
		for name, p := range map[string]string{"setuid": "/bin/suid", "capabilities": "/bin/capable"} {
			for how, exec := range map[string][]string{"executed": {program, "exec", p, "report"}, "entrypoint": {p, "report"}} {
				f.run(attack{
					name: name + " " + how, allow: contained, entries: []harness.Entry{suid, capable}, app: map[string]any{"exec": exec, "user": "1000", "group": "1000"},
					check: func(f *field, r harness.Result) {
						f.Helper()
						got := f.reports(r.Stdout)[0].Status
						if got["Uid"] != "1000 1000 1000 1000" || got["CapPrm"] != none || got["CapEff"] != none {
							f.Errorf("uids %s, permitted %s, effective %s", got["Uid"], got["CapPrm"], got["CapEff"])
						}
					},
				})
			}
		}
	})
}
