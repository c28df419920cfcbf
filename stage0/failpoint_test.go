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

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// reached runs the verbs once and returns the failpoints on their way.
func reached(t *testing.T, verb string) []string {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	w := newWorld(t)
	cmd := w.failing(verb)
	cmd.Env = append(cmd.Env, "RKT_FAILPOINT_LOG="+log)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", verb, err, out)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(data))
	slices.Sort(names)
	return slices.Compact(names)
}

// failing prepares the stage for a verb and returns the command.
func (w *world) failing(verb string) *exec.Cmd {
	w.t.Helper()
	switch verb {
	case "run-prepared":
		return w.command(verb, w.prepared(w.prepareConfig()).String())
	case "rm":
		return w.command(verb, w.exited(w.prepareConfig()).String())
	case "gc":
		w.exited(w.prepareConfig())
		w.aborted()
		uuid := poddir.NewUUID().String()
		for _, dir := range []string{
			filepath.Join(poddir.Pods, poddir.Embryo, uuid), filepath.Join(poddir.Tmp, trashPrefix+uuid),
		} {
			if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o750); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	closeWorld(w)
	return w.command(verb)
}

// TestKilledAnywhere kills each verb at each of its durable steps: two passes
// of gc leave nothing.
func TestKilledAnywhere(t *testing.T) {
	needs(t)
	for _, verb := range []string{"prepare", "run", "run-prepared", "rm", "gc"} {
		names := reached(t, verb)
		if len(names) < 3 {
			t.Errorf("%s reaches only %v", verb, names)
		}
		for _, name := range names {
			for _, action := range []string{"kill", "enospc", "eio"} {
				t.Run(fmt.Sprintf("%s/%s/%s", verb, name, action), func(t *testing.T) { failAt(t, verb, name, action) })
			}
		}
	}
}

func failAt(t *testing.T, verb, name, action string) {
	w := newWorld(t)
	cmd := w.failing(verb)
	cmd.Env = append(cmd.Env, "RKT_FAILPOINT="+name+"="+action)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && exit.Sys().(interface{ Signaled() bool }).Signaled()
	if killed != (action == "kill") {
		t.Fatalf("%v\n%s", err, out)
	}
	w.wantNoMounts()
	for _, p := range w.all() {
		if p.Err != nil && p.State.HasManifest() && p.State != "exited garbage" {
			t.Errorf("pod is %q: %v", p.State, p.Err)
		}
	}
	for range 2 {
		w.gc(nil)
	}
	w.wantEmpty()
}

// TestKilledWithUsers: a range is taken as long as the pod that has it is there.
func TestKilledWithUsers(t *testing.T) {
	needs(t)
	for _, action := range []string{"kill", "enospc"} {
		w := newWorld(t)
		cmd := w.command("prepare")
		cmd.Env = append(cmd.Env, "RKT_TEST_USERS=1", "RKT_TEST_COPY=1", "RKT_FAILPOINT=prepare.users-recorded="+action)
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Fatalf("%s: %s", action, out)
		}
		if taken, err := rangesOfPods(t.Context(), w.dir); err != nil || len(taken) != 1 {
			t.Errorf("%s: %v, %v", action, taken, err)
		}
		for range 2 {
			w.gc(nil)
		}
		if taken, err := rangesOfPods(t.Context(), w.dir); err != nil || len(taken) != 0 {
			t.Errorf("%s: %v, %v", action, taken, err)
		}
		w.wantEmpty()
	}
}
