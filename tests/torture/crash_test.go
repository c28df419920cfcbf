// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// scenario is one command that changes files, with what it needs.
type scenario struct {
	name string
	// setup brings the host to the state in which the command runs and
	// returns the command.
	setup func(h *harness.Host) []string
	// again may accept a failure of the second run: the first did the work.
	again func(r harness.Result) bool
}

func scenarios(fx *fixtures) []scenario {
	quiet := []string{"--net=host"}
	run := func(image string) []string { return append(append([]string{"run"}, quiet...), image) }
	gone := func(messages ...string) func(harness.Result) bool {
		return func(r harness.Result) bool {
			return slices.ContainsFunc(messages, func(m string) bool { return strings.Contains(r.Stderr, m) })
		}
	}
	return []scenario{
		{name: "fetch-aci", setup: func(*harness.Host) []string { return []string{"fetch", fx.aci} }},
		{name: "fetch-oci", setup: func(*harness.Host) []string { return []string{"fetch", "oci:" + fx.layout} }},
		{name: "fetch-docker", setup: func(*harness.Host) []string { return []string{"fetch", fx.docker} }},
		{name: "fetch-dependency", setup: func(h *harness.Host) []string {
			h.Fetch(fx.aci)
			return []string{"fetch", "--pull-policy=new", fx.dependent}
		}},
		{name: "image-rm", setup: func(h *harness.Host) []string {
			return []string{"image", "rm", h.Fetch(fx.aci), h.Fetch("oci:" + fx.layout)}
		}, again: gone("no image IDs found", "successfully removed")},
		{name: "image-gc", setup: func(h *harness.Host) []string {
			h.Fetch(fx.aci)
			h.Fetch("oci:" + fx.layout)
			return []string{"image", "gc", "--grace-period=0s"}
		}},
		{name: "image-fsck", setup: func(h *harness.Host) []string {
			h.Fetch(fx.aci)
			h.Fetch("oci:" + fx.layout)
			if err := os.Truncate(filepath.Join(h.Dir, "cas", "db", "ql.db"), 100); err != nil {
				h.T.Fatalf("%v", err)
			}
			return []string{"image", "fsck", "--repair"}
		}},
		{name: "prepare", setup: func(h *harness.Host) []string { return []string{"prepare", h.Fetch(fx.aci)} }},
		{name: "prepare-no-overlay", setup: func(h *harness.Host) []string {
			return []string{"prepare", "--no-overlay", h.Fetch("oci:" + fx.layout)}
		}},
		{name: "run", setup: func(h *harness.Host) []string { return run(h.Fetch(fx.aci)) }},
		{name: "run-file", setup: func(*harness.Host) []string { return run(fx.aci) }},
		{name: "run-oci", setup: func(*harness.Host) []string { return run("oci:" + fx.layout) }},
		{name: "run-prepared", setup: func(h *harness.Host) []string {
			return []string{"run-prepared", "--net=host", strings.TrimSpace(h.OK("prepare", h.Fetch(fx.aci)))}
		}, again: gone("is not prepared")},
		{name: "rm-exited", setup: func(h *harness.Host) []string {
			h.OK(run(h.Fetch(fx.aci))...)
			return append([]string{"rm"}, h.Pods()...)
		}, again: gone("no matches found")},
		{name: "rm-prepared", setup: func(h *harness.Host) []string {
			return []string{"rm", strings.TrimSpace(h.OK("prepare", h.Fetch(fx.aci)))}
		}, again: gone("no matches found")},
		{name: "gc", setup: func(h *harness.Host) []string {
			image := h.Fetch(fx.aci)
			h.OK(run(image)...)
			h.OK("prepare", "--quiet", image)
			h.Run("run", "--net=host", "--volume=v,kind=host,source=/no/such/dir", image, "--mount=volume=v,target=/v")
			return []string{"gc", "--grace-period=0s", "--expire-prepared=0s"}
		}},
	}
}

// fixtures are made once: small images in every form.
type fixtures struct{ aci, dependent, layout, docker string }

func newFixtures(t *testing.T) *fixtures {
	t.Helper()
	testenv.NeedsRoot(t)
	app := map[string]any{"exec": []string{"/bin/true"}}
	tiny := harness.TinyEntries(t)
	fx := &fixtures{aci: harness.ACI(t, harness.Manifest("example.com/tiny", "1", app), tiny)}
	dependent := harness.Manifest("example.com/dependent", "1", app)
	dependent["dependencies"] = []map[string]any{{"imageName": "example.com/tiny"}}
	fx.dependent = harness.ACI(t, dependent, []harness.Entry{harness.File("more", 0o644, "more")})
	img := harness.OCIImage(t, harness.OCIOptions{Config: v1Config()}, tiny, harness.Layer("data", 3, 5000))
	fx.layout = harness.WriteLayout(t, img)
	fx.docker = harness.Push(t, harness.NewRegistry(t).Addr, "tiny:v1", img)
	return fx
}

// newHost is a host that runs the rkt with failpoints.
func newHost(t *testing.T) *harness.Host {
	t.Helper()
	h := harness.NewHost(t)
	h.Bin = harness.Program(t, "RKT_FAILPOINT_BIN", "rkt-failpoint")
	h.Flags = []string{"--insecure-options=image,http"}
	return h
}

// points runs the scenario's command once and returns the failpoints that it
// reaches, in order, each once.
func points(t *testing.T, s scenario) []string {
	t.Helper()
	h := newHost(t)
	args := s.setup(h)
	log := filepath.Join(t.TempDir(), "points")
	h.Env = []string{"RKT_FAILPOINT_LOG=" + log}
	h.OK(args...)
	h.Env = nil
	raw, err := os.ReadFile(log)
	if err != nil {
		t.Fatalf("%s reaches no failpoint: is this rkt built with the tag failpoint? %v", s.name, err)
	}
	var names []string
	for name := range strings.FieldsSeq(string(raw)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// TestEveryFailpoint kills each command at each durable step, and lets each
// step fail; the short form lets a step fail in the first command that has it.
func TestEveryFailpoint(t *testing.T) {
	fx := newFixtures(t)
	all := map[string]bool{}
	for _, s := range scenarios(fx) {
		t.Run(s.name, func(t *testing.T) {
			for _, point := range points(t, s) {
				actions := []string{"kill"}
				if !all[point] || os.Getenv("TORTURE") == "long" {
					actions = append(actions, "enospc", "eio")
				}
				all[point] = true
				for _, action := range actions {
					t.Run(point+"="+action, func(t *testing.T) {
						t.Parallel()
						crash(t, s, point, action)
					})
				}
			}
		})
	}
	t.Logf("%d different failpoints", len(all))
}

func crash(t *testing.T, s scenario, point, action string) {
	t.Helper()
	h := newHost(t)
	args := s.setup(h)
	h.Env = []string{"RKT_FAILPOINT=" + point + "=" + action}
	first := h.Run(args...)
	h.Env = nil
	switch {
	case action == "kill" && first.Signal != syscall.SIGKILL:
		t.Errorf("not killed at the failpoint: %s", first)
	case action != "kill" && first.Signal != 0:
		t.Errorf("died of an error: %s", first)
	case first.Status == 254 && !strings.Contains(first.Stderr, map[string]string{"enospc": "no space left on device", "eio": "input/output error"}[action]):
		t.Errorf("the cause is missing from the message: %s", first)
	}
	h.OK("list")
	h.OK("image", "list")
	again := h.Run(args...)
	if again.Status != 0 && (s.again == nil || !s.again(again)) {
		t.Errorf("the same command again: %s\nafter: %s", again, first)
	}
	h.OK("image", "fsck")
	h.CollectAll()
}
