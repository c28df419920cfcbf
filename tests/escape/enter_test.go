// SPDX-License-Identifier: Apache-2.0

//go:build functional

package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// pod is a pod that runs in the background.
type pod struct {
	*harness.Proc
	uuid string
}

// background starts a pod and waits until one of its apps says ready.
func (f *field) background(args ...string) pod {
	f.Helper()
	file := filepath.Join(f.TempDir(), "uuid")
	p := f.h.Start(append([]string{"run", f.stage1, "--net=none", "--uuid-file-save=" + file}, args...)...)
	p.WaitContains("ready")
	uuid, err := os.ReadFile(file)
	f.must(err)
	return pod{Proc: p, uuid: string(uuid)}
}

// end stops a pod and judges what its apps said.
func (f *field) end(p pod, allow outcome) harness.Result {
	f.Helper()
	if p.Cmd.ProcessState == nil {
		f.h.OK("stop", p.uuid)
	}
	r := p.Wait()
	f.judge(attack{allow: allow}, r)
	return r
}

// TestEnterConfinement: a command that enters a pod is what the app is, in
// everything that confines it (CVE-2019-10144, -10145, -10147).
func TestEnterConfinement(t *testing.T) {
	eachFlavor(t, all(), func(f *field) {
		root, err := os.Open("/")
		f.must(err)
		defer func() { _ = root.Close() }()
		for name, section := range map[string]map[string]any{
			"root":         {},
			"another user": {"user": "1000", "group": "1000", "supplementaryGIDs": []int{400, 500}},
			"few capabilities": {"isolators": []map[string]any{
				{"name": "os/linux/capabilities-retain-set", "value": map[string]any{"set": []string{"CAP_KILL", "CAP_CHOWN"}}},
				{"name": "os/linux/no-new-privileges", "value": true},
			}},
			"a filter of its own": {"isolators": []map[string]any{
				{"name": "os/linux/seccomp-remove-set", "value": map[string]any{"set": []string{"mkdir", "mkdirat"}, "errno": "EPERM"}},
				{"name": "os/linux/oom-score-adj", "value": 300},
			}},
			"limits": {"isolators": []map[string]any{
				{"name": "resource/memory", "value": map[string]any{"limit": "256Mi"}}, {"name": "resource/cpu", "value": map[string]any{"limit": "900m"}},
			}},
		} {
			f.Run(name, func(t *testing.T) {
				g := f.on(t)
				section["exec"] = []string{program, "both"}
				image := g.image(attack{})
				p := g.background("--pod-manifest=" + g.manifestFile(onePod(section, nil)(image)))
				// What the caller has in excess does not come along.
				some := "+chown,+dac_override,+kill,+sys_admin,+sys_ptrace,+net_admin"
				entered := g.start(attack{files: []*os.File{root, root}, wrap: []string{"setpriv", "--inh-caps=" + some, "--ambient-caps=" + some}}, []string{"enter", p.uuid, program, "report"})
				if entered.Status != 0 {
					g.Errorf("%s", entered)
				}
				r := g.end(p, anyway)
				g.alike(g.reports(entered.Stdout)[0], g.reports(r.Stdout)[0])
			})
		}
	})
}

// alike compares a process that entered with the app.
func (f *field) alike(entered, app facts) {
	f.Helper()
	for _, field := range []string{"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"} {
		if entered.Status[field] != app.Status[field] {
			f.Errorf("%s of what entered is %q, of the app %q", field, entered.Status[field], app.Status[field])
		}
	}
	for ns, want := range app.Namespaces {
		if entered.Namespaces[ns] != want {
			f.Errorf("namespace %s of what entered is %s, of the app %s", ns, entered.Namespaces[ns], want)
		}
	}
	if entered.Cgroup != app.Cgroup {
		f.Errorf("cgroups of what entered are\n%sof the app\n%s", entered.Cgroup, app.Cgroup)
	}
	if entered.OOM != app.OOM {
		f.Errorf("OOM score of what entered is %q, of the app %q", entered.OOM, app.OOM)
	}
	if entered.Label != app.Label {
		f.Errorf("label of what entered is %q, of the app %q", entered.Label, app.Label)
	}
	if len(entered.FDs) != 3 {
		f.Errorf("descriptors of what entered: %v", entered.FDs)
	}
	if entered.Limits != app.Limits {
		f.Errorf("limits of what entered are\n%sof the app\n%s", entered.Limits, app.Limits)
	}
}

// on is the field in a subtest.
func (f *field) on(t *testing.T) *field {
	g := *f
	g.T = t
	h := *f.h
	h.T = t
	g.h = &h
	return &g
}

// TestEnterHunted: an app waits for processes that enter its pod and tries to
// catch their program, their descriptors and their memory.
func TestEnterHunted(t *testing.T) {
	eachFlavor(t, walls(), func(f *field) {
		n := rounds(30, 1000)
		for name, caps := range map[string]string{"default": defaultNames, "with CAP_SYS_PTRACE": defaultNames + ",CAP_SYS_PTRACE"} {
			f.Run(name, func(t *testing.T) {
				g := f.on(t)
				script := harness.File("bin/script", 0o755, "#!/proc/self/exe\n")
				image := g.image(attack{entries: []harness.Entry{script, harness.Symlink("bin/link", "/proc/self/exe")}, app: map[string]any{"exec": []string{program, "hunt", g.canary}}})
				before := g.outside()
				p := g.background(image, "--caps-retain="+caps)
				for i := range n {
					for _, command := range [][]string{{program, "report"}, {"/bin/script"}, {"/bin/link"}, {"/proc/self/exe", "report"}, {"/proc/self/fd/3"}} {
						r := g.h.Run(append([]string{"enter", p.uuid}, command...)...)
						if (r.Status == 0) != (command[0] == program) {
							g.Errorf("round %d: %s", i, r)
						}
					}
				}
				// the status says nothing: the hunter may end, and with it what is in its cgroup, before enter does
				g.h.Run("enter", p.uuid, program, "stop")
				r := p.Wait()
				g.judge(attack{allow: contained}, r)
				g.compare(before, g.outside())
				if g.Failed() {
					g.Logf("%s", r)
				}
			})
		}
	})
}

// TestStartHunted: the same for the programs that start the other apps of a pod.
func TestStartHunted(t *testing.T) {
	eachFlavor(t, walls(), func(f *field) {
		n := rounds(3, 100)
		script := harness.File("bin/script", 0o755, "#!/proc/self/exe\n")
		image := f.image(attack{entries: []harness.Entry{script}})
		for name, caps := range map[string]string{"default": defaultNames, "with CAP_SYS_PTRACE": defaultNames + ",CAP_SYS_PTRACE"} {
			f.Run(name, func(t *testing.T) {
				g := f.on(t)
				for range n {
					g.hunted(image, caps)
				}
			})
		}
	})
}

// hunted starts a pod with a hunter and others.
func (f *field) hunted(image, caps string) {
	f.Helper()
	before := f.outside()
	apps := []map[string]any{podApp("hunter", image, map[string]any{
		"exec":      []string{program, "hunt", f.canary},
		"isolators": []map[string]any{{"name": "os/linux/capabilities-retain-set", "value": map[string]any{"set": strings.Split(caps, ",")}}},
	})}
	for n := range 6 {
		apps = append(apps, podApp(fmt.Sprintf("other-%d", n), image, map[string]any{
			"eventHandlers": []map[string]any{{"name": "pre-start", "exec": []string{program, "nap"}}, {"name": "post-stop", "exec": []string{program, "nap"}}},
		}))
	}
	// the last one frees the hunter
	apps = append(apps, podApp("last", image, map[string]any{"exec": []string{program, "stop-later", "/shared/stop"}}))
	for _, a := range apps {
		a["mounts"] = []map[string]any{{"volume": "s", "path": map[bool]string{true: "/tmp", false: "/shared"}[a["name"] == "hunter"]}}
	}
	m := map[string]any{"apps": apps, "volumes": []map[string]any{{"name": "s", "kind": "empty", "mode": "1777"}}}
	r := f.h.Run("run", f.stage1, "--net=none", "--pod-manifest="+f.manifestFile(m))
	f.judge(attack{allow: contained}, r)
	f.compare(before, f.outside())
	if !strings.Contains(r.Stdout, "hunted") || f.Failed() {
		f.Fatalf("%s", r)
	}
}

// TestAppHunted: the same for the operations on apps of a pod that runs, whose
// programs come in from the host.
func TestAppHunted(t *testing.T) {
	eachFlavor(t, walls(), func(f *field) {
		for name, caps := range map[string]string{"default": defaultNames, "with CAP_SYS_PTRACE": defaultNames + ",CAP_SYS_PTRACE"} {
			f.Run(name, func(t *testing.T) {
				g := f.on(t)
				image := g.image(attack{})
				file := filepath.Join(g.TempDir(), "uuid")
				p := g.h.Start("app", "sandbox", g.stage1, "--net=none", "--uuid-file-save="+file)
				uuid := g.uuidOf(file)
				before := g.outside()
				for g.h.Run("app", "add", uuid, image, "--name=hunter", "--caps-retain="+caps, "--exec="+program, "--", "hunt", g.canary).Status != 0 {
					time.Sleep(50 * time.Millisecond) // the supervisor is not ready yet
				}
				g.h.OK("app", "start", uuid, "--app=hunter")
				for range rounds(5, 100) {
					g.h.OK("app", "add", uuid, image, "--name=other", "--mnt-volume=name=e,kind=empty,target=/e", "--exec="+program, "--", "sleep")
					g.h.OK("app", "start", uuid, "--app=other")
					g.h.OK("app", "status", uuid, "--app=other")
					g.h.OK("app", "stop", uuid, "--app=other")
					g.h.OK("app", "rm", uuid, "--app=other")
				}
				// the status says nothing: the hunter may end, and with it what is in its cgroup, before enter does
				g.h.Run("enter", "--app=hunter", uuid, program, "stop")
				time.Sleep(200 * time.Millisecond) // the hunter tells
				g.h.OK("stop", uuid)
				r := p.Wait()
				g.judge(attack{allow: unheard}, r)
				if !strings.Contains(r.Stdout, "hunted") {
					g.Errorf("the hunter did not tell: %s", r)
				}
				g.compare(before, g.outside())
			})
		}
	})
}
