// SPDX-License-Identifier: Apache-2.0

//go:build vm

package vm

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// suites are the packages of functional tests that a host is tried with, and
// what of them is left out: what is about images, registries and the store asks
// nothing of the kernel or the service manager of a host, needs servers or Go,
// and takes its time where the processor is emulated.
var suites = []struct{ name, skip string }{
	{"functional", "^Test(Tutorial|Redis|DebianFromDockerRegistry|Registry.*|SecondImageSharesLayers|BrokenLayerDownloadResumes|RangeRefused|LyingRegistry|LocalOCIForms" +
		"|TreeEqualsUmoci|PodSeesUmociTree|OCIThereAndBack|SameImageTwiceSameID|LayerThroughSymlinkBelow|Fetch.*|UnsignedIsRefused|PullPolicies|Hostile.*|Bombs|GarbageFiles|Image.*|Index.*|Dependencies.*|VerifyAndRepairTree|PodManyStarts)$"},
	{"ace", ""},
	{"escape", ""},
}

// suitePrograms are those that the tests would build.
var suitePrograms = []string{"tests/functional/activated", "tests/functional/netprobe", "tests/ace/validator", "tests/escape/attacker"}

// suiteEnv restricts the suites, as go test -run does: TestNet.
const suiteEnv = "RKT_VM_SUITE"

// suiteTasks puts the functional tests, and of the checkout what they need,
// into a host's tree.
func suiteTasks(t *testing.T, root string) (tasks []task) {
	t.Helper()
	checkout := harness.Checkout(t)
	for _, sub := range []string{"go.mod", "dist/stage1", "build/stage1", "build/bin"} {
		copyTree(t, filepath.Join(checkout, sub), filepath.Join(root, "checkout", sub))
	}
	for _, dir := range suitePrograms {
		writeNew(t, filepath.Join(root, "programs", harness.ProgramFile(dir)), read(t, harness.GoProgram(t, dir)), 0o755)
	}
	writeNew(t, root+"/programs/true", read(t, harness.TrueProgram(t)), 0o755)
	for _, dir := range []string{"cache", "suite"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range suites {
		dir := "tests/" + s.name
		copyTree(t, filepath.Join(checkout, dir), filepath.Join(root, "checkout", dir))
		buildTest(t, "functional", "../"+s.name, root+"/suite/"+s.name)
		argv := []string{"/suite/" + s.name, "-test.v", "-test.timeout=" + patience.String(), "-test.run=" + os.Getenv(suiteEnv)}
		if s.skip != "" {
			argv = append(argv, "-test.skip="+s.skip)
		}
		tasks = append(tasks, task{
			Name: s.name, Dir: "/checkout/" + dir, Argv: argv,
			Env: []string{"RKT_CACHE=/cache", "RKT_TEST_PROGRAMS=/programs", "ACTOOL_BIN=/checkout/build/bin/actool"},
		})
	}
	return tasks
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	harness.Command(t, "cp", "-a", from, to)
}
