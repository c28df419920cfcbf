// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// fuzzAll fuzzes every target of the module in the working directory. Each
// package with targets is built once.
func fuzzAll(results string, budget time.Duration) error {
	list, err := exec.Command("go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}", "./...").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	tmp, err := os.MkdirTemp("", "fuzz-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	var c counts
	for line := range strings.Lines(string(list)) {
		pkg, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !hasTargets(dir) {
			continue
		}
		if err := fuzzPackage(&c, tmp, pkg, dir, budget); err != nil {
			return err
		}
	}
	fmt.Printf("fuzz: %d passed, %d failed, 0 skipped\n", c.Passed, c.Failed)
	if err := c.save(results, "fuzz"); err != nil {
		return err
	}
	if c.Failed > 0 {
		return fmt.Errorf("%d fuzz targets failed", c.Failed)
	}
	if c.Passed == 0 {
		return fmt.Errorf("no fuzz target found")
	}
	return nil
}

func hasTargets(dir string) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(text), "\nfunc Fuzz") {
			return true
		}
	}
	return false
}

func fuzzPackage(c *counts, tmp, pkg, dir string, budget time.Duration) error {
	bin := filepath.Join(tmp, "fuzz.test")
	if out, err := exec.Command("go", "test", "-c", "-fuzz=.", "-o", bin, pkg).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	list := exec.Command(bin, "-test.list=^Fuzz")
	list.Dir = dir
	names, err := list.Output()
	if err != nil {
		return fmt.Errorf("list %s: %w", pkg, err)
	}
	for name := range strings.FieldsSeq(string(names)) {
		cmd := exec.Command(bin, "-test.run=^$", "-test.fuzz=^"+name+"$", "-test.fuzztime="+budget.String(), "-test.fuzzcachedir="+filepath.Join(tmp, "cache", pkg), "-test.parallel=2")
		cmd.Dir = dir
		start := time.Now()
		out, err := cmd.CombinedOutput()
		// A target that is busy when its time is up fails with the deadline alone;
		// a finding always names its input.
		if err != nil && strings.Contains(string(out), "context deadline exceeded") && !strings.Contains(string(out), "Failing input written") {
			err = nil
		}
		if err != nil {
			c.Failed++
			fmt.Printf("FAIL\t%s %s\n%s\n", pkg, name, out)
			continue
		}
		c.Passed++
		fmt.Printf("ok  \t%s %s\t%s\n", pkg, name, time.Since(start).Round(100*time.Millisecond))
	}
	return nil
}
