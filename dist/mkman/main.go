// SPDX-License-Identifier: Apache-2.0

// Command mkman writes manual pages, one for each command of a program, from
// what the program says about itself:
//
//	mkman -out DIR -date SECONDS -version V [-join _] PROGRAM
//
// It asks PROGRAM and each of its commands for --help, so that the pages and
// the help texts are one. The pages are the same bytes from the same texts,
// date and version. A command "image list" of rkt is the page rkt_image_list.1.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkman:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var seconds int64
	var m manual
	var out string
	fs := flag.NewFlagSet("mkman", flag.ContinueOnError)
	fs.StringVar(&out, "out", "", "directory to write to")
	fs.Int64Var(&seconds, "date", 0, "date of the pages, in seconds since 1970")
	fs.StringVar(&m.version, "version", "", "version of the program")
	fs.StringVar(&m.join, "join", "_", "what stands between the words of a page's name")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 || out == "" || m.version == "" {
		return errors.New("want -out, -version and one program")
	}
	m.date = time.Unix(seconds, 0).UTC().Format(time.DateOnly)
	program := fs.Arg(0)
	m.program = filepath.Base(program)
	m.ask = func(words []string) (string, error) {
		text, err := exec.Command(program, append(words, "--help")...).Output()
		if err != nil {
			return "", fmt.Errorf("%s --help: %w", strings.Join(append([]string{program}, words...), " "), err)
		}
		return string(text), nil
	}
	pages, err := m.pages()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(out, name+".1"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
