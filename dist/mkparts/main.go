// SPDX-License-Identifier: Apache-2.0

// Command mkparts writes down what a build of rkt contains of others:
//
//	mkparts -version V -date SECONDS -stage1 stage1-coreos.aci -licences FILE -sbom FILE PROGRAM...
//
// the terms of every Go module and Debian package in the programs and the
// image, and a bill of materials (SPDX 2.3). The same build gives the same bytes.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/rkt/rkt/v2/dist/internal/parts"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkparts:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var version, stage1, licences, sbom string
	var seconds int64
	fs := flag.NewFlagSet("mkparts", flag.ContinueOnError)
	fs.StringVar(&version, "version", "", "version of rkt")
	fs.Int64Var(&seconds, "date", 0, "date of the documents, in seconds since 1970")
	fs.StringVar(&stage1, "stage1", "", "the image with Debian packages in it")
	fs.StringVar(&licences, "licences", "", "file to write the terms to")
	fs.StringVar(&sbom, "sbom", "", "file to write the bill of materials to")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 || version == "" || stage1 == "" || licences == "" || sbom == "" {
		return errors.New("want all of the flags and programs")
	}
	modules, err := parts.Modules(fs.Args())
	if err != nil {
		return err
	}
	packages, err := parts.Packages(stage1)
	if err != nil {
		return err
	}
	var text, bill bytes.Buffer
	if err := parts.WriteLicences(&text, modules, packages); err != nil {
		return err
	}
	if err := parts.WriteSBOM(&bill, version, time.Unix(seconds, 0), modules, packages); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(licences, text.Bytes(), 0o644), os.WriteFile(sbom, bill.Bytes(), 0o644))
}
