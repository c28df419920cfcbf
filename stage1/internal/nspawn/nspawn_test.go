// SPDX-License-Identifier: Apache-2.0

package nspawn

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

const id = "01234567-89ab-4cde-8f01-23456789abcd"

func uuid(t *testing.T) poddir.UUID {
	t.Helper()
	u, err := poddir.ParseUUID(id)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestArgv(t *testing.T) {
	for name, tt := range map[string]struct {
		call Call
		want string
	}{
		"host": {
			Call{Program: "/usr/bin/systemd-nspawn", UUID: uuid(t), Root: "stage1/rootfs", Hostname: "me", LinkJournal: true, Register: true, Label: "a:b:c", MountLabel: "d:e:f"},
			"/usr/bin/systemd-nspawn --boot --notify-ready=yes --settings=no --resolv-conf=off --timezone=off -Za:b:c -Ld:e:f --setenv=SYSTEMD_UNIT_PATH=/usr/lib/systemd/system --register=yes --keep-unit --link-journal=try-guest " +
				"--console=passive --quiet --uuid=" + id + " --machine=rkt-" + id + " --hostname=me --directory=stage1/rootfs -- --default-standard-output=null --log-target=null --show-status=0",
		},
		"coreos": {
			Call{
				Loader: "s/usr/lib/ld.so", LibraryPath: "s/usr/lib:s/usr/lib/systemd", Program: "s/usr/bin/systemd-nspawn", UUID: uuid(t), Root: "s", Hostname: "rkt-" + id,
				PrivateUsers: "65536:65536", Caps: caps.Set(1<<5 | 1<<12),
			},
			"s/usr/lib/ld.so --inhibit-cache --library-path s/usr/lib:s/usr/lib/systemd --argv0 systemd-nspawn s/usr/bin/systemd-nspawn --boot --notify-ready=yes --settings=no --resolv-conf=off " +
				"--timezone=off --setenv=SYSTEMD_UNIT_PATH=/usr/lib/systemd/system --register=no --keep-unit --link-journal=no --console=passive --quiet --private-users=65536:65536 --private-users-ownership=off --uuid=" + id + " --machine=rkt-" + id +
				" --hostname=rkt-" + id + " --directory=s --capability=CAP_KILL,CAP_NET_ADMIN -- --default-standard-output=null --log-target=null --show-status=0",
		},
		"debug, everything allowed, odd name": {
			Call{Program: "nspawn", UUID: uuid(t), Root: "s", Hostname: "with_underscore", AllCaps: true, Caps: 5, Debug: true},
			"nspawn --boot --notify-ready=yes --settings=no --resolv-conf=off --timezone=off --setenv=SYSTEMD_UNIT_PATH=/usr/lib/systemd/system --register=no --keep-unit --link-journal=no --console=read-only --uuid=" + id + " --machine=rkt-" + id +
				" --directory=s --capability=all -- --default-standard-output=null --log-target=console --show-status=0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(strings.Fields(tt.want), tt.call.Argv()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnv(t *testing.T) {
	want := []string{
		"PATH=/bin", "SYSTEMD_SECCOMP=0", "SYSTEMD_NSPAWN_CONTAINER_SERVICE=rkt", "SYSTEMD_NSPAWN_TMPFS_TMP=0", "SYSTEMD_NSPAWN_LOCK=0", "NOTIFY_SOCKET=/run/n",
		"SYSTEMD_LOG_LEVEL=err",
	}
	if diff := cmp.Diff(want, Call{Notify: "/run/n"}.Env("/bin")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	all := Call{Notify: "/run/n", Debug: true, Unified: true, ShareIPC: true, WritableAPI: true}.Env("/bin")
	for _, want := range []string{"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_SHARE_NS_IPC=1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=1"} {
		if !slices.Contains(all, want) {
			t.Errorf("no %s in %v", want, all)
		}
	}
	if slices.Contains(all, "SYSTEMD_LOG_LEVEL=err") {
		t.Error("--debug says nothing")
	}
}

// TestHostname: what systemd-nspawn would refuse is not passed to it.
func TestHostname(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "a.b-c.D9": true, strings.Repeat("x", 64): true, "": false, "a_b": false, "-a": false, "a-": false, "a..b": false, "a.": false, ".a": false, "a b": false, "é": false,
		"a\n": false, "a.-b": false, "--boot": false, strings.Repeat("x", 65): false, "(none)": false,
	} {
		if got := isHostname(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
		passed := slices.ContainsFunc(Call{Hostname: name}.Argv(), func(w string) bool { return strings.HasPrefix(w, "--hostname") })
		if passed != want {
			t.Errorf("%q is passed: %v", name, passed)
		}
	}
}

// TestDefault: the list of systemd-nspawn(1).
func TestDefault(t *testing.T) {
	want, err := caps.Parse(strings.Fields(`CAP_AUDIT_CONTROL CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_IPC_OWNER CAP_KILL CAP_LEASE
		CAP_LINUX_IMMUTABLE CAP_MKNOD CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_RAW CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_CHROOT
		CAP_SYS_NICE CAP_SYS_PTRACE CAP_SYS_RESOURCE CAP_SYS_TTY_CONFIG`))
	if err != nil {
		t.Fatal(err)
	}
	if Default != want {
		t.Errorf("missing %s, too many %s", want&^Default, Default&^want)
	}
}
