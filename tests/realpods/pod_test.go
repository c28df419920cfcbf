// SPDX-License-Identifier: Apache-2.0

//go:build functional

package realpods

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// run is one flavor on one data directory.
type run struct {
	*testing.T
	h      *harness.Host
	stage1 string // flag
}

// eachFlavor runs a test for the flavors that have pods of several apps.
func eachFlavor(t *testing.T, test func(r *run)) {
	t.Helper()
	testenv.NeedsRoot(t)
	for _, flavor := range harness.Flavors("coreos", "host") {
		t.Run(flavor, func(t *testing.T) {
			test(&run{T: t, h: harness.NewHost(t), stage1: harness.Stage1Flag(t, flavor)})
		})
	}
}

func (r *run) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// backend is an image of the program in backend/.
func (r *run) backend() string {
	r.Helper()
	body, err := os.ReadFile(harness.GoProgram(r, "tests/realpods/backend"))
	r.must(err)
	return r.h.Fetch(harness.ACI(r, harness.Manifest("example.com/backend", "1", map[string]any{"exec": []string{"/backend"}}),
		[]harness.Entry{harness.File("backend", 0o755, string(body)), harness.Dir("etc", 0o755), harness.Dir("tmp", 0o1777)}))
}

// pod is a running pod.
type pod struct {
	*harness.Proc
	r    *run
	uuid string
}

// start starts a pod and waits for a line of one of its apps.
func (r *run) start(line string, args ...string) pod {
	r.Helper()
	file := filepath.Join(r.TempDir(), "uuid")
	p := r.h.Start(append([]string{"run", r.stage1, "--net=none", "--uuid-file-save=" + file}, args...)...)
	p.WaitContains(line)
	uuid, err := os.ReadFile(file)
	r.must(err)
	return pod{Proc: p, r: r, uuid: string(uuid)}
}

// enter runs a command in an app that has to succeed.
func (p pod) enter(app string, command ...string) string {
	p.r.Helper()
	return p.r.h.OK(append([]string{"enter", "--app=" + app, p.uuid}, command...)...)
}

// stop stops the pod in order and looks at its end.
func (p pod) stop() harness.Result {
	p.r.Helper()
	p.r.h.OK("stop", p.uuid)
	res := p.Wait()
	if res.Status != 0 {
		p.r.Errorf("stopped in order: %s", res)
	}
	if state := p.r.h.Status(p.uuid)["state"]; state != "exited" {
		p.r.Errorf("state after the stop: %q", state)
	}
	return res
}

// want is a comparison.
func (r *run) want(what, got, want string) {
	r.Helper()
	if strings.TrimSpace(got) != want {
		r.Errorf("%s: %q, want %q", what, got, want)
	}
}
