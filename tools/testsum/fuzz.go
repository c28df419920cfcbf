// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// fuzzer fuzzes the targets of the module in the working directory: as many at
// once as there are processors, each with one worker, while the next package is
// being built.
type fuzzer struct {
	dir    string        // of built test programs and of what the targets find interesting
	budget time.Duration // for each target
	longer time.Duration // for those of outside
	// outside has the targets of what comes from the network, from files of
	// others and from the user, as "pkg/appc.FuzzImageManifest"; false until seen.
	outside map[string]bool

	mu     sync.Mutex
	counts counts
}

// target is one fuzz function in a built test program.
type target struct {
	name    string // "pkg/appc.FuzzImageManifest"
	program string
	dir     string // of the package: where its testdata are
	budget  time.Duration
}

func newFuzzer(dir string, budget, longer time.Duration, outside string) *fuzzer {
	f := &fuzzer{dir: dir, budget: budget, longer: longer, outside: map[string]bool{}}
	for name := range strings.FieldsSeq(outside) {
		f.outside[name] = false
	}
	return f
}

func (f *fuzzer) all(results string) error {
	targets := make(chan target)
	var workers sync.WaitGroup
	for range runtime.NumCPU() {
		workers.Go(func() {
			for t := range targets {
				f.fuzz(t)
			}
		})
	}
	err := f.build(targets)
	close(targets)
	workers.Wait()
	fmt.Printf("fuzz: %d passed, %d failed, 0 skipped\n", f.counts.Passed, f.counts.Failed)
	if err := errors.Join(err, f.counts.save(results, "fuzz"), f.unseen()); err != nil {
		return err
	}
	if f.counts.Failed > 0 {
		return fmt.Errorf("%d fuzz targets failed", f.counts.Failed)
	}
	if f.counts.Passed == 0 {
		return errors.New("no fuzz target found")
	}
	return nil
}

// unseen tells of names in the list that no target has: a renamed target would
// otherwise quietly get less time.
func (f *fuzzer) unseen() error {
	var errs []error
	for name, seen := range f.outside {
		if !seen {
			errs = append(errs, fmt.Errorf("there is no fuzz target %s", name))
		}
	}
	return errors.Join(errs...)
}

// build sends every target, package by package.
func (f *fuzzer) build(targets chan<- target) error {
	list, err := exec.Command("go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Module.Path}} {{.Dir}}{{end}}", "./...").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	for line := range strings.Lines(string(list)) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(fields) != 3 || !hasTargets(fields[2]) {
			continue
		}
		pkg, dir := strings.TrimPrefix(fields[0], fields[1]+"/"), fields[2]
		program := filepath.Join(f.dir, strings.ReplaceAll(pkg, "/", "_")+".test")
		if out, err := exec.Command("go", "test", "-c", "-fuzz=.", "-ldflags=-s -w", "-o", program, fields[0]).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
		cmd := exec.Command(program, "-test.list=^Fuzz")
		cmd.Dir = dir
		names, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("list %s: %w", pkg, err)
		}
		for name := range strings.FieldsSeq(string(names)) {
			t := target{name: pkg + "." + name, program: program, dir: dir, budget: f.budget}
			if _, ok := f.outside[t.name]; ok {
				f.outside[t.name], t.budget = true, max(f.budget, f.longer)
			}
			targets <- t
		}
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

func (f *fuzzer) fuzz(t target) {
	_, name, _ := strings.Cut(path.Base(t.name), ".")
	// By default each interesting input of a slow target is made smaller for a
	// minute, which is all the time there is.
	cmd := exec.Command(t.program, "-test.run=^$", "-test.fuzz=^"+name+"$", "-test.fuzztime="+t.budget.String(), "-test.fuzzminimizetime=1s",
		"-test.parallel=1", "-test.fuzzcachedir="+filepath.Join(f.dir, "cache", t.name))
	cmd.Dir = t.dir
	start := time.Now()
	out, err := cmd.CombinedOutput()
	// A target that is busy when its time is up fails with the deadline alone;
	// a finding always names its input.
	if err != nil && strings.Contains(string(out), "context deadline exceeded") && !strings.Contains(string(out), "Failing input written") {
		err = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.counts.Failed++
		fmt.Printf("FAIL\t%s\n%s\n", t.name, out)
		return
	}
	f.counts.Passed++
	fmt.Printf("ok  \t%s\t%s\n", t.name, time.Since(start).Round(100*time.Millisecond))
}
