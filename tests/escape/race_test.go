// SPDX-License-Identifier: Apache-2.0

//go:build functional

package escape

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// rounds is how often a race is run.
func rounds(short, whole int) int {
	if long() {
		return whole
	}
	return short
}

// lures are where a swapped link leads.
func (f *field) lures() []string {
	return []string{f.canary, strings.Repeat("../", 30) + f.canary, "/", "/proc", "/proc/self/fd/9", "/proc/1/root" + f.canary, "/proc/sys/kernel", "/dev"}
}

// TestSwappedTargets: a pod that runs exchanges a directory of a host volume
// with a link again and again, while other pods start that mount something
// below it and work in it (CVE-2019-16884, CVE-2021-30465, CVE-2023-27561).
func TestSwappedTargets(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		bait := filepath.Join(f.TempDir(), "bait")
		f.must(os.MkdirAll(filepath.Join(bait, "in"), 0o755))
		f.must(os.WriteFile(filepath.Join(bait, "file"), []byte("bait\n"), 0o644))
		n := rounds(32, 1000)
		for i, lure := range f.some(f.lures()) {
			shared := filepath.Join(f.TempDir(), "shared")
			f.must(os.MkdirAll(shared, 0o777))
			image := f.image(attack{})
			volume := "--volume=s,kind=host,source=" + shared
			racer := f.background(volume, image, "--mount=volume=s,target=/shared", "--exec="+program, "--", "swap", "/shared", lure, "swap")
			inspect := append([]string{"--exec=" + program, "--", "inspect"}, f.look()[2:]...)
			for round := range n / len(f.lures()) {
				before := f.outside()
				flags := []string{
					volume, "--volume=i,kind=host,source=" + bait, "--volume=e,kind=empty", "--volume=f,kind=host,source=" + filepath.Join(bait, "file"), image, "--mount=volume=s,target=/shared",
					"--mount=volume=i,target=/shared/swap/in", "--mount=volume=e,target=/shared/swap/new/er", "--mount=volume=f,target=/shared/swap/file",
				}
				if round%2 == 1 {
					flags = append(flags, "--working-dir=/shared/swap")
				}
				r := f.start(attack{}, append(append([]string{"run", f.stage1, "--net=none"}, flags...), inspect...))
				f.judge(attack{}, r)
				f.compare(before, f.outside())
				for _, m := range harness.MountsBelow(f.canary) {
					f.Errorf("mounted on the host: %s", m)
				}
				if f.Failed() {
					f.Fatalf("lure %d, round %d: %s", i, round, r)
				}
			}
			f.must(os.WriteFile(filepath.Join(shared, "stop"), nil, 0o644))
			f.judge(attack{allow: unheard}, racer.Wait())
		}
	})
}

// TestSwappedInPod: two apps share a volume; for one it is where rkt puts
// devices and files of its own, the other exchanges these names with links
// while the first one starts (CVE-2025-31133, -52565, -52881).
func TestSwappedInPod(t *testing.T) {
	eachFlavor(t, walls(), func(f *field) {
		n := rounds(2, 32)
		for target, names := range map[string][]string{
			"/dev":  {"null", "zero", "full", "random", "tty", "console", "ptmx", "pts", "shm", "net"},
			"/etc":  {"hosts", "hostname", "resolv.conf", "mtab", "passwd"},
			"/run":  {"systemd"},
			"/proc": {"sys", "self", "sysrq-trigger", "kcore", "bus"},
			"/sys":  {"kernel", "firmware", "fs"},
		} {
			for _, lure := range f.some(append(f.lures(), "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/kcore")) {
				f.Run(target+" to "+strings.ReplaceAll(lure, f.canary, "canary"), func(t *testing.T) {
					g := f.on(t)
					image := g.image(attack{})
					for round := range n {
						before := g.outside()
						victim := podApp("victim", image, map[string]any{"exec": []string{program, "victim", g.canary, "/stop"}})
						victim["mounts"] = []map[string]any{{"volume": "s", "path": target}, {"volume": "s", "path": "/stop"}}
						racer := podApp("racer", image, map[string]any{"exec": append([]string{program, "swap", "/shared", lure}, names...)})
						racer["mounts"] = []map[string]any{{"volume": "s", "path": "/shared"}}
						m := map[string]any{"apps": []map[string]any{racer, victim}, "volumes": []map[string]any{{"name": "s", "kind": "empty", "mode": "0777"}}}
						r := g.start(attack{}, []string{"run", g.stage1, "--net=none", "--pod-manifest=" + g.manifestFile(m)})
						g.judge(attack{allow: unheard}, r)
						g.compare(before, g.outside())
						if g.Failed() {
							g.Fatalf("round %d: %s", round, r)
						}
						g.Logf("round %d: status %d %q", round, r.Status, said(r))
					}
				})
			}
		}
	})
}

// TestSwappedAppAdd: the same for an app that is added to a pod while another
// one swaps.
func TestSwappedAppAdd(t *testing.T) {
	eachFlavor(t, walls(), func(f *field) {
		bait := filepath.Join(f.TempDir(), "bait")
		f.must(os.MkdirAll(filepath.Join(bait, "in"), 0o755))
		image := f.image(attack{})
		for i, lure := range f.some(f.lures()) {
			shared := filepath.Join(f.TempDir(), "shared")
			f.must(os.MkdirAll(shared, 0o777))
			file := filepath.Join(f.TempDir(), "uuid")
			p := f.h.Start("app", "sandbox", f.stage1, "--net=none", "--uuid-file-save="+file)
			uuid := f.uuidOf(file)
			before := f.outside()
			at := func(name, what, target string) string {
				return "--mnt-volume=name=" + name + "," + what + ",target=" + target
			}
			volume := at("s", "kind=host,source="+shared, "/shared")
			for f.h.Run("app", "add", uuid, image, "--name=racer", volume, "--exec="+program, "--", "swap", "/shared", lure, "swap").Status != 0 {
				time.Sleep(50 * time.Millisecond) // the supervisor is not ready yet
			}
			f.h.OK("app", "start", uuid, "--app=racer")
			for round := range rounds(2, 125) {
				r := f.start(attack{}, []string{
					"app", "add", uuid, image, "--name=victim", volume, at("i", "kind=host,source="+bait, "/shared/swap/in"), at("e", "kind=empty", "/shared/swap/new"), "--working-dir=/shared/swap",
					"--exec=" + program, "--", "inspect", f.canary,
				})
				f.judge(attack{allow: unheard}, r)
				if r.Status == 0 {
					f.judge(attack{allow: unheard}, f.h.Run("app", "start", uuid, "--app=victim"))
					_ = f.h.Run("app", "rm", uuid, "--app=victim")
				}
				for _, m := range harness.MountsBelow(f.canary) {
					f.Errorf("mounted on the host: %s", m)
				}
				f.compare(before, f.outside())
				if f.Failed() {
					f.Fatalf("lure %d, round %d: %s", i, round, r)
				}
			}
			f.must(os.WriteFile(filepath.Join(shared, "stop"), nil, 0o644))
			f.h.OK("stop", uuid)
			f.judge(attack{allow: unheard}, p.Wait())
		}
	})
}

// uuidOf waits for the file that a background rkt writes.
func (f *field) uuidOf(file string) string {
	f.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		uuid, err := os.ReadFile(file)
		if err == nil && len(uuid) == 36 && f.h.Status(string(uuid))["state"] == "running" {
			return string(uuid)
		}
	}
	f.Fatalf("no pod")
	return ""
}
