// SPDX-License-Identifier: Apache-2.0

//go:build functional

package escape

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// reporting is an app whose pre-start and main program report what they are.
func reporting(user string) map[string]any {
	return map[string]any{
		"exec": []string{program, "report"}, "user": user, "group": user,
		"eventHandlers": []map[string]any{{"name": "pre-start", "exec": []string{program, "report"}}},
	}
}

// TestInheritedDescriptors: what rkt's caller has open is not the app's.
func TestInheritedDescriptors(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		root, err := os.Open("/")
		f.must(err)
		defer func() { _ = root.Close() }()
		file, err := os.OpenFile(filepath.Join(f.canary, "file"), os.O_RDWR, 0)
		f.must(err)
		defer func() { _ = file.Close() }()
		r, w, err := os.Pipe()
		f.must(err)
		defer func() { _ = r.Close(); _ = w.Close() }()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		f.must(err)
		defer func() { _ = l.Close() }()
		socket, err := l.(*net.TCPListener).File()
		f.must(err)
		defer func() { _ = socket.Close() }()
		none := func(f *field, r harness.Result) {
			f.Helper()
			for _, got := range f.reports(r.Stdout) {
				got.FDs = slices.DeleteFunc(got.FDs, func(fd string) bool {
					return f.flavor == "fly" && strings.Contains(fd, f.h.Dir+"/pods/run/") // the pod's lock
				})
				if !slices.Equal(got.FDs, []string{"0", "1", "2"}) {
					f.Errorf("descriptors %v", got.FDs)
				}
				if slices.ContainsFunc(got.Env, func(e string) bool { return strings.HasPrefix(e, "LISTEN_") }) {
					f.Errorf("environment %q", got.Env)
				}
			}
		}
		files := []*os.File{root, file, r, w, socket, root, file, root}
		f.run(attack{name: "low numbers", app: reporting("0"), files: files, allow: contained, check: none})
		f.run(attack{
			name: "high numbers", app: reporting("0"), allow: contained, check: none,
			wrap: []string{"bash", "-c", `exec 10</ 63</ 64</ 99<>"` + f.canary + `/file" 100</ 200</proc 255</ ; exec "$@"`, "bash"},
		})
		f.run(attack{
			name: "working directory of the caller", app: reporting("0"), allow: contained, check: none,
			wrap: []string{"bash", "-c", `cd "` + f.canary + `"; exec "$@"`, "bash"},
		})
		if f.flavor != "fly" { // which hands activated descriptors on
			f.run(attack{
				name: "announced as activated", app: reporting("0"), files: files, allow: contained, check: none,
				wrap: []string{"bash", "-c", `export LISTEN_FDS=8 LISTEN_PID=$$ LISTEN_FDNAMES=a:b:c:d:e:f:g:h; exec "$@"`, "bash"},
			})
		}
		f.run(attack{name: "no streams", app: reporting("0"), wrap: []string{"bash", "-c", `exec "$@" 0<&- 2>&-`, "bash"}})
	})
}

// TestInheritedCapabilities: a caller with inheritable and ambient
// capabilities gives none of them to the app (CVE-2022-24769).
func TestInheritedCapabilities(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		some := "+chown,+dac_override,+kill,+mknod,+net_raw,+setuid,+sys_admin,+sys_ptrace,+net_admin,+sys_chroot"
		for _, user := range []string{"0", "1000"} {
			for name, flags := range map[string][]string{
				"inheritable": {"--inh-caps=" + some}, "ambient": {"--inh-caps=" + some, "--ambient-caps=" + some},
				"no setuid fixup": {"--inh-caps=" + some, "--securebits=+no_setuid_fixup"}, "no root": {"--inh-caps=" + some, "--ambient-caps=" + some, "--securebits=+noroot"},
			} {
				f.run(attack{
					name: name + " for " + user, app: reporting(user), wrap: append([]string{"setpriv"}, flags...),
					check: func(f *field, r harness.Result) {
						f.Helper()
						if r.Status != 0 && name == "no root" {
							return // rkt lacks what it needs
						}
						for i, got := range f.reports(r.Stdout) {
							s := got.Status
							if s["CapInh"] != none || s["CapAmb"] != none {
								f.Errorf("report %d: inheritable %s, ambient %s", i, s["CapInh"], s["CapAmb"])
							}
							if f.flavor != "fly" && s["CapBnd"] != defaultCaps {
								f.Errorf("report %d: bounding %s, want %s", i, s["CapBnd"], defaultCaps)
							}
							if i == 1 && user != "0" && (s["CapPrm"] != none || s["CapEff"] != none) {
								f.Errorf("user %s: permitted %s, effective %s", user, s["CapPrm"], s["CapEff"])
							}
						}
					},
				})
			}
		}
	})
}

const (
	none        = "0000000000000000"
	defaultCaps = "00000000a80425fb" // the 14 of the specification
)

// TestInheritedSignals: what the caller ignores or blocks, the app does not.
func TestInheritedSignals(t *testing.T) {
	eachFlavor(t, walls(), func(f *field) { // under fly the app is the caller's process
		image := f.h.Fetch(harness.Busybox(f, nil))
		r := f.start(attack{wrap: []string{"env", "--ignore-signal=PIPE,TERM,HUP,CHLD,USR1", "--block-signal=USR2,INT,TERM"}},
			[]string{"run", f.stage1, "--net=none", image, "--name=app", "--exec=/bin/grep", "--", "-E", "Sig(Ign|Blk)", "/proc/self/status"})
		out := harness.AppOutput(r.Stdout, "app")
		if strings.Join(strings.Fields(out), " ") != "SigBlk: "+none+" SigIgn: "+none {
			f.Errorf("%q: %s", out, r)
		}
	})
}
