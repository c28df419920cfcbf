// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// event is one line of test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// counts are the results of one step.
type counts struct {
	Passed, Failed int
	Skipped        []string // package.Test: reason
}

func runTests(results, name string, args []string) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c := show(out)
	runErr := cmd.Wait()
	if runErr != nil && c.Failed == 0 {
		c.Failed++ // a build or a whole binary failed
	}
	if os.Getenv("RKT_TEST_MUSTRUN") == "all" && len(c.Skipped) > 0 {
		runErr = errors.Join(runErr, fmt.Errorf("%s: %d tests skipped, but RKT_TEST_MUSTRUN=all:\n  %s", name, len(c.Skipped), strings.Join(c.Skipped, "\n  ")))
	}
	fmt.Printf("%s: %d passed, %d failed, %d skipped\n", name, c.Passed, c.Failed, len(c.Skipped))
	if err := c.save(results, name); err != nil {
		return err
	}
	if runErr != nil {
		return fmt.Errorf("%s: %w", name, runErr)
	}
	if c.Passed == 0 {
		return fmt.Errorf("%s: no test was executed", name)
	}
	return nil
}

// show prints failures, results of packages and nothing else, and counts.
func show(r io.Reader) counts {
	var c counts
	output := map[string][]string{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var e event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			fmt.Println(s.Text())
			continue
		}
		key := e.Package + "." + e.Test
		switch e.Action {
		case "output", "build-output":
			output[key] = append(output[key], e.Output)
		case "pass":
			if e.Test != "" {
				c.Passed++
			} else {
				fmt.Printf("ok  \t%s\t%.3fs\n", e.Package, e.Elapsed)
			}
			delete(output, key)
		case "skip":
			if e.Test != "" {
				c.Skipped = append(c.Skipped, key+": "+reason(output[key]))
			}
			delete(output, key)
		case "fail", "build-fail":
			if e.Test != "" {
				c.Failed++
			}
			fmt.Print(strings.Join(output[key], ""))
			if e.Test == "" && e.Package != "" {
				fmt.Printf("FAIL\t%s\t%.3fs\n", e.Package, e.Elapsed)
			}
			delete(output, key)
		}
	}
	for _, left := range output { // of a binary that died without a word
		if e := strings.Join(left, ""); strings.Contains(e, "panic") || strings.Contains(e, "FAIL") {
			fmt.Print(e)
		}
	}
	return c
}

func reason(lines []string) string {
	lines = slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		l = strings.TrimSpace(l)
		return strings.HasPrefix(l, "===") || strings.HasPrefix(l, "---")
	})
	return strings.TrimSpace(strings.Join(lines, " "))
}

func (c counts) save(results, name string) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(results, name+".json"), raw, 0o644)
}

// total adds the steps up and prints the line a machine looks for.
func total(results string) error {
	files, err := filepath.Glob(filepath.Join(results, "*.json"))
	if err != nil {
		return err
	}
	var sum counts
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		var c counts
		if err := json.Unmarshal(raw, &c); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		sum.Passed += c.Passed
		sum.Failed += c.Failed
		sum.Skipped = append(sum.Skipped, c.Skipped...)
	}
	fmt.Printf("check: %d passed, %d failed, %d skipped\n", sum.Passed, sum.Failed, len(sum.Skipped))
	if sum.Passed == 0 || sum.Failed > 0 {
		return errors.New("not all well")
	}
	return nil
}
