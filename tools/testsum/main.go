// SPDX-License-Identifier: Apache-2.0

// Command testsum runs `go test -json`, shows what a person wants to see of it
// and keeps count, so that a run of many steps ends with one honest line.
//
//	testsum run -name NAME [--] GO-TEST-ARGS...   run tests, add the counts to build/test-results/NAME
//	testsum fuzz -time 2s [-results DIR]          fuzz every fuzz target of the module for a while,
//	     [-longer 20s -outside "pkg/a.FuzzB …"]   some of them for longer
//	testsum total [-results DIR]                  print "check: N passed, N failed, N skipped"
//
// With RKT_TEST_MUSTRUN=all a skipped test counts as a failure.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("want run, fuzz or total")
	}
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	results := fs.String("results", filepath.Join("build", "test-results"), "directory of the counts")
	name := fs.String("name", "test", "name of the step")
	budget := fs.Duration("time", 2*time.Second, "time for each fuzz target")
	longer := fs.Duration("longer", 0, "time for the fuzz targets of -outside")
	outside := fs.String("outside", "", "fuzz targets of what comes from outside, as pkg/appc.FuzzImageManifest, with spaces between")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if err := os.MkdirAll(*results, 0o755); err != nil {
		return err
	}
	switch args[0] {
	case "run":
		return runTests(*results, *name, fs.Args())
	case "fuzz":
		dir, err := os.MkdirTemp("", "fuzz-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		return newFuzzer(dir, *budget, *longer, *outside).all(*results)
	case "total":
		return total(*results)
	}
	return fmt.Errorf("unknown command %q", args[0])
}
