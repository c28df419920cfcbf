// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/pkg/podunit"
)

// TestUnitKeys: every flag of rkt run has a key, or a reason for none; every
// key has a flag.
func TestUnitKeys(t *testing.T) {
	d := NewDeps(nil)
	cmd := newRun(d)
	own := newRun(d).Flags()
	flags := mergedFlags(cmd, d)
	if flags.Lookup("dir") == nil {
		d.Global.bind(flags)
	}
	keyed, not := map[string]bool{}, podunit.NotKeys()
	for _, k := range podunit.Keys() {
		if k.Flag == "" {
			continue
		}
		keyed[k.Flag] = true
		f := flags.Lookup(k.Flag)
		if f == nil {
			t.Errorf("[%s] %s=: there is no --%s", k.Section, k.Name, k.Flag)
			continue
		}
		if global := own.Lookup(k.Flag) == nil; global != k.Global {
			t.Errorf("--%s: global %v, the table says %v", k.Flag, global, k.Global)
		}
		if k.Kind == podunit.Bool && f.NoOptDefVal == "" && k.Flag != "readonly-rootfs" {
			t.Errorf("--%s is no boolean", k.Flag)
		}
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if _, ok := not[f.Name]; ok == keyed[f.Name] {
			t.Errorf("--%s needs a key in podunit.Keys or a reason in podunit.NotKeys, and not both", f.Name)
		}
	})
}

// TestUnitExamples: what the documentation shows is right.
func TestUnitExamples(t *testing.T) {
	files, err := filepath.Glob("../../../../examples/pods.d/*.pod")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if decl := readDeclaration(podunit.File(f)); len(decl.Problems)+len(decl.Warnings) > 0 {
			t.Errorf("%v %v", decl.Problems, decl.Warnings)
		}
	}
}

// TestGeneratorTime: a hundred declarations do not hold up the boot.
func TestGeneratorTime(t *testing.T) {
	d := NewDeps(nil)
	d.Stderr = t.Output()
	d.Global.LocalConfig, d.Global.SystemConfig = t.TempDir(), t.TempDir()
	dir := filepath.Join(d.Global.LocalConfig, podunit.Dir)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../../../examples/pods.d/web.pod")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i%26))+string(rune('a'+i/26))+".pod"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := t.TempDir()
	best := time.Hour
	for range 3 {
		start := time.Now()
		if err := runGenerator(t.Context(), d, out); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	// Some microseconds a file; the limit is for machines with a lot to do.
	if best > time.Second {
		t.Errorf("took %s", best)
	}
	t.Logf("100 declarations: %s", best)
	if made, _ := filepath.Glob(out + "/*.service"); len(made) != 100 {
		t.Errorf("%d services", len(made))
	}
}
