// SPDX-License-Identifier: Apache-2.0

//go:build failpoint

package stage0

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/pod"
)

// verb does app-add and the like to the app "web", with an environment.
func (m *mutablePod) verb(name string, env ...string) (string, error) {
	cmd := m.command(name, m.uuid.String(), "web")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *mutablePod) mustVerb(names ...string) {
	m.t.Helper()
	for _, name := range names {
		if out, err := m.verb(name); err != nil {
			m.t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
}

// appReached returns the failpoints on the way of an operation on an app.
func appReached(t *testing.T, verb, mode string) []string {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	m := newMutableWorld(t).sandbox(mode)
	if verb == "app-rm" {
		m.mustVerb("app-add", "app-start")
	}
	if out, err := m.verb(verb, "RKT_FAILPOINT_LOG="+log); err != nil {
		t.Fatalf("%s: %v\n%s", verb, err, out)
	}
	m.end()
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Compact(strings.Fields(string(data)))
}

// TestAppKilledAnywhere kills, or lets fail, "app add" and "app rm" at each of
// their durable steps in a pod that goes on running. Whoever comes next cleans
// up, and in the end nothing is left.
func TestAppKilledAnywhere(t *testing.T) {
	needs(t)
	for _, mode := range []string{"overlay", "copy"} {
		for _, verb := range []string{"app-add", "app-rm"} {
			names := appReached(t, verb, mode)
			if len(names) < 6 {
				t.Errorf("%s reaches only %v", verb, names)
			}
			for _, name := range names {
				for _, action := range []string{"kill", "enospc"} {
					t.Run(fmt.Sprintf("%s/%s/%s/%s", mode, verb, name, action), func(t *testing.T) {
						if verb == "app-add" {
							failAddAt(t, mode, name, action)
						} else {
							failRemoveAt(t, mode, name, action)
						}
					})
				}
			}
		}
	}
}

// fail does a verb up to a failpoint.
func (m *mutablePod) fail(verb, name, action string) {
	m.t.Helper()
	out, err := m.verb(verb, "RKT_FAILPOINT="+name+"="+action)
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && exit.Sys().(interface{ Signaled() bool }).Signaled()
	if err == nil || killed != (action == "kill") {
		m.t.Fatalf("%v\n%s", err, out)
	}
	m.wantNoMounts()
	if in := m.open(m.uuid).Info(); in.Err != nil || in.State != pod.Running {
		m.t.Errorf("pod is %q: %v", in.State, in.Err)
	}
}

func (m *mutablePod) wantEntries(before string) {
	m.t.Helper()
	if diff := cmp.Diff(before, m.entries()); diff != "" {
		m.t.Errorf("left behind (-want +got):\n%s", diff)
	}
}

// removed removes the app, if there is anything of it.
func (m *mutablePod) removed() {
	m.t.Helper()
	if out, err := m.verb("app-rm"); err != nil && !strings.Contains(out, "nonexistent app") {
		m.t.Fatalf("app-rm: %v\n%s", err, out)
	}
}

func failAddAt(t *testing.T, mode, name, action string) {
	w := newMutableWorld(t)
	m := w.sandbox(mode)
	before := m.entries()
	m.fail("app-add", name, action)
	if action != "kill" { // undone
		m.wantEntries(before)
	}
	m.removed()
	m.wantEntries(before)
	m.fail("app-add", name, action)
	if out, err := m.verb("app-add"); err != nil && (name != "app-add.finished" || !strings.Contains(out, "multiple apps with name web")) {
		t.Fatalf("again: %v\n%s", err, out)
	}
	m.wantState("web", pod.AppCreated)
	m.mustVerb("app-start", "app-stop", "app-rm")
	m.wantEntries(before)
	m.fail("app-add", name, action)
	m.finish()
}

func failRemoveAt(t *testing.T, mode, name, action string) {
	w := newMutableWorld(t)
	m := w.sandbox(mode)
	before := m.entries()
	m.mustVerb("app-add", "app-start")
	m.fail("app-rm", name, action)
	m.removed()
	m.wantEntries(before)
	m.mustVerb("app-add", "app-start")
	m.fail("app-rm", name, action)
	// The name is free again as soon as the pod manifest does not have it.
	if out, err := m.verb("app-add"); err != nil {
		if !strings.Contains(out, "multiple apps with name web") {
			t.Fatalf("add after removal: %v\n%s", err, out)
		}
		m.mustVerb("app-rm", "app-add")
	}
	m.wantState("web", pod.AppCreated)
	m.mustVerb("app-start")
	m.fail("app-rm", name, action)
	m.finish()
}

// finish ends the pod as it is and removes it.
func (m *mutablePod) finish() {
	m.t.Helper()
	m.end()
	for range 2 {
		m.gc(nil)
	}
	m.wantEmpty()
}
