// SPDX-License-Identifier: Apache-2.0

//go:build functional

package ace

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/ace/expect"
	"github.com/rkt/rkt/v2/tests/harness"
)

// run is one flavor on one data directory.
type run struct {
	*testing.T
	h       *harness.Host
	flavor  string
	program string // the validator
	stage1  string // flag
}

// eachFlavor runs the test for every flavor that is asked for.
func eachFlavor(t *testing.T, test func(r *run)) {
	t.Helper()
	testenv.NeedsRoot(t)
	program := harness.GoProgram(t, "tests/ace/validator")
	for _, flavor := range harness.Flavors("coreos", "host", "fly") {
		t.Run(flavor, func(t *testing.T) {
			test(&run{T: t, h: harness.NewHost(t), flavor: flavor, program: program, stage1: harness.Stage1Flag(t, flavor)})
		})
	}
}

// apps is how many apps a pod of the flavor may have.
func (r *run) single() bool { return r.flavor == "fly" }

// names are the checks of roles as the validator lists them.
func (r *run) names(roles ...string) []string {
	r.Helper()
	out, err := exec.Command(r.program, append([]string{expect.RoleList}, roles...)...).Output()
	if err != nil {
		r.Fatal(err)
	}
	return strings.Fields(string(out))
}

// report makes a subtest of every check.
func (r *run) report(names []string, output string) {
	r.Helper()
	results := map[string]string{}
	for s := bufio.NewScanner(strings.NewReader(output)); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "ok "); ok {
			results[name] = "ok"
		} else if rest, ok := strings.CutPrefix(s.Text(), "not ok "); ok {
			name, why, _ := strings.Cut(rest, ": ")
			results[name] = why
		}
	}
	for _, name := range names {
		result, found := results[name]
		if !found {
			result = "the check printed nothing"
		}
		var err string
		if result != "ok" {
			err = result
		}
		r.check(name, err)
	}
}

// check is one subtest: empty is good.
func (r *run) check(name, wrong string) {
	r.Helper()
	r.Run(name, func(t *testing.T) {
		reason, excepted := exception(r.flavor, name)
		switch {
		case excepted && wrong == "":
			t.Errorf("passes; the exception %q is not needed", reason)
		case excepted:
			t.Logf("%s: excepted: %s (%s)", r.flavor, reason, wrong)
		case wrong != "":
			t.Error(wrong)
		}
	})
}

// image makes an image of the validator.
func (r *run) image(name string, app map[string]any, entries ...harness.Entry) string {
	r.Helper()
	body, err := os.ReadFile(r.program)
	if err != nil {
		r.Fatal(err)
	}
	base := []harness.Entry{
		harness.Dir("bin", 0o755), harness.Dir("etc", 0o755), harness.File(expect.Program, 0o755, string(body)),
		harness.File("etc/passwd", 0o644, expect.Passwd), harness.File("etc/group", 0o644, expect.GroupFile),
	}
	return r.h.Fetch(harness.ACI(r, harness.Manifest("example.com/ace-"+name, "1", app), append(base, entries...)))
}

type pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (r *run) mainImage() string {
	r.Helper()
	var env []pair
	for name, value := range expect.Env() {
		env = append(env, pair{name, value})
	}
	handler := func(name string) map[string]any {
		return map[string]any{"name": name, "exec": []string{expect.Program, name}}
	}
	handlers := []map[string]any{handler(expect.RolePreStart)}
	if !r.single() { // fly refuses it: nobody is left to run it
		handlers = append(handlers, handler(expect.RolePostStop))
	}
	home := harness.Dir(expect.Home, 0o755)
	home.Uid, home.Gid = expect.UID, expect.GID
	return r.image(expect.Main, map[string]any{
		"exec": append([]string{expect.Program}, expect.MainArgs()...), "user": expect.User, "group": expect.Group,
		"supplementaryGIDs": expect.SupplementaryGIDs(), "workingDirectory": expect.MainDir, "environment": env, "eventHandlers": handlers,
		"mountPoints": []map[string]any{
			{"name": "ro", "path": expect.RO},
			{"name": "rw", "path": expect.RW},
			{"name": "masked", "path": expect.Masked, "readOnly": true},
			{"name": "shared", "path": expect.SharedMain},
			{"name": "one-file", "path": expect.OneFile},
			{"name": "implicit", "path": expect.Implicit},
		},
	}, harness.File(expect.MainMarker, 0o644, ""), harness.Dir("var", 0o755), home, harness.Dir(expect.MainDir, 0o755),
		harness.Dir("ace", 0o755), harness.Dir(expect.Masked, 0o755), harness.File(expect.MaskedFile, 0o644, "hidden by the volume\n"))
}

func (r *run) sidekickImage() string {
	r.Helper()
	return r.image(expect.Sidekick, map[string]any{
		"exec": []string{"ace", expect.RoleSidekick}, "environment": []pair{{"PATH", expect.SidekickPath}},
		"mountPoints": []map[string]any{{"name": "shared", "path": expect.SharedSide}},
	}, harness.File(expect.SidekickMarker, 0o644, ""), harness.Dir("opt", 0o755), harness.Dir("opt/ace", 0o755), harness.Dir(expect.SidekickBin, 0o755),
		harness.Symlink(filepath.Join(expect.SidekickBin, "ace"), expect.Program))
}

// plainImage is the validator without wishes.
func (r *run) plainImage() string {
	r.Helper()
	return r.image(expect.Isolated, map[string]any{"exec": []string{expect.Program}}, harness.File("etc/of-the-image", 0o644, "of the image\n"))
}

// annotatedImage is the validator with annotations.
func (r *run) annotatedImage() string {
	r.Helper()
	body, err := os.ReadFile(r.program)
	if err != nil {
		r.Fatal(err)
	}
	m := harness.Manifest("example.com/ace-annotated", "1", map[string]any{"exec": []string{expect.Program}})
	m["annotations"] = []pair{{"both", "image"}, {"of-image", "image"}}
	return r.h.Fetch(harness.ACI(r, m, []harness.Entry{harness.Dir("bin", 0o755), harness.File(expect.Program, 0o755, string(body))}))
}

// podManifest writes a pod manifest file.
func (r *run) podManifest(apps []map[string]any, volumes []map[string]any) string {
	r.Helper()
	m := map[string]any{"acVersion": "0.8.11", "acKind": "PodManifest", "apps": apps, "volumes": volumes}
	data, err := json.Marshal(m)
	if err != nil {
		r.Fatal(err)
	}
	file := filepath.Join(r.TempDir(), "pod.json")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		r.Fatal(err)
	}
	return file
}

// app is an app of a pod manifest.
func app(name, image string, section map[string]any) map[string]any {
	full := map[string]any{"user": "0", "group": "0"}
	for k, v := range section {
		full[k] = v
	}
	return map[string]any{"name": name, "image": map[string]any{"id": image}, "app": full}
}
