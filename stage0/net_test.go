// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// TestNetworkTree has gc find a stage1 to sweep networks with by the records
// that there are, some of which nobody can use.
func TestNetworkTree(t *testing.T) {
	const uuid = "00000000-0000-4000-8000-00000000000"
	good := `{"netns": "/x", "stage1Tree": "deps-good"}`
	for _, c := range []struct {
		name    string
		records map[string]string
		found   bool
		fails   bool
	}{
		{name: "no record"},
		{name: "one", records: map[string]string{uuid + "1": good}, found: true},
		{name: "one of several", found: true, records: map[string]string{
			uuid + "1": "", uuid + "2": "{", uuid + "3": `{"stage1Tree": "deps-gone"}`, uuid + "4": "{}", uuid + "5": `{"stage1Tree": "deps-fly"}`, uuid + "6": good,
		}},
		{name: "its tree is gone", records: map[string]string{uuid + "1": `{"stage1Tree": "deps-gone"}`}, fails: true},
		{name: "its tree cannot", records: map[string]string{uuid + "1": `{"stage1Tree": "deps-fly"}`}, fails: true},
		{name: "of no tree", records: map[string]string{uuid + "1": "{}"}, fails: true},
		{name: "damaged", records: map[string]string{uuid + "1": "{"}, fails: true},
		{name: "being written", records: map[string]string{"." + uuid + "1.tmp-2": good}},
		{name: "something else", records: map[string]string{"README": good}},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, data := t.TempDir(), t.TempDir()
			program := filepath.Join(store, "good", "rootfs", networkProgram)
			for _, dir := range []string{filepath.Dir(program), filepath.Join(store, "fly", "rootfs"), filepath.Join(data, poddir.NetPods)} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(program, nil, 0o755); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
			for name, text := range c.records {
				if err := os.WriteFile(filepath.Join(data, poddir.NetPods, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			g := &collector{GCConfig: GCConfig{CollectConfig: CollectConfig{Env: Env{DataDir: data, Trees: fakeStore{dir: store}}}}}
			got, err := g.networkTree(t.Context())
			if (err != nil) != c.fails || (got != "") != c.found {
				t.Errorf("%q, %v", got, err)
			}
			if c.found && got != filepath.Join(store, "good", "rootfs") {
				t.Errorf("%q", got)
			}
			if c.fails && !strings.Contains(err.Error(), "no stage1 of the pods in "+filepath.Join(data, poddir.NetPods)+" is left") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestNetworkScratch has gc leave what another gc sweeps networks from alone,
// and take it away when that is dead.
func TestNetworkScratch(t *testing.T) {
	data := t.TempDir()
	tmp := filepath.Join(data, poddir.Tmp)
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, held, err := scratch(tmp)
	if err != nil {
		t.Fatal(err)
	}
	g := &collector{GCConfig: GCConfig{
		CollectConfig: CollectConfig{Env: Env{DataDir: data}},
		Now:           func() time.Time { return time.Now().Add(time.Hour) },
	}}
	if err := g.collectTrash(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("in use, but gone: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.collectTrash(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}
