// SPDX-License-Identifier: Apache-2.0

// Command mkdeb makes the Debian package of an installed tree:
//
//	mkdeb -root DIR -scripts dist/debian -version V -iteration 1 -date SECONDS -maintainer NAME -stage1 stage1-coreos.aci -out DIR
//
// The tree is what "make install" made with PREFIX=/usr. mkdeb adds what policy
// wants (copyright, changelog, checksums, compressed manual pages), the control
// file and the maintainer scripts, in which @UNITS@ and @SERVICES@ become the
// units of the tree, and has dpkg-deb pack it. All times are SECONDS and all
// files belong to root: the same tree gives the same bytes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/dist/internal/parts"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkdeb:", err)
		os.Exit(1)
	}
}

// build is what is known about the package.
type build struct {
	root, scripts, out  string
	version, iteration  string
	maintainer, changes string
	stage1              string
	seconds             int64
	packages            []parts.Package
	builtUsing          string
}

func run(args []string) error {
	var b build
	fs := flag.NewFlagSet("mkdeb", flag.ContinueOnError)
	fs.StringVar(&b.root, "root", "", "the installed tree, to which the rest is added")
	fs.StringVar(&b.scripts, "scripts", "", "directory with control, the maintainer scripts and lintian-overrides")
	fs.StringVar(&b.version, "version", "", "version of rkt")
	fs.StringVar(&b.iteration, "iteration", "1", "revision of the package")
	fs.StringVar(&b.maintainer, "maintainer", "", "name and address of who makes the package")
	fs.StringVar(&b.changes, "changes", "CHANGELOG.md", "the changes of rkt")
	fs.StringVar(&b.stage1, "stage1", "", "the image with Debian packages in it")
	fs.Int64Var(&b.seconds, "date", 0, "time of everything in the package, in seconds since 1970")
	fs.StringVar(&b.out, "out", "", "directory to write the package to")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 || b.root == "" || b.scripts == "" || b.version == "" || b.maintainer == "" || b.stage1 == "" || b.out == "" {
		return errors.New("want all of the flags and no arguments")
	}
	var err error
	if b.packages, err = parts.Packages(b.stage1); err != nil {
		return err
	}
	if b.builtUsing, err = sources(b.packages); err != nil {
		return err
	}
	for _, step := range []func() error{b.docs, b.compressPages, b.control} {
		if err := step(); err != nil {
			return err
		}
	}
	return b.pack()
}

// debianVersion is the version in Debian's order, in which 2.0.0~dev comes
// before 2.0.0, with the revision of the package.
func (b *build) debianVersion() string {
	return strings.ReplaceAll(b.version, "-", "~") + "-" + b.iteration
}

func (b *build) date() time.Time { return time.Unix(b.seconds, 0).UTC() }

// arch is the architecture in Debian's words.
func arch() string {
	switch runtime.GOARCH {
	case "386":
		return "i386"
	case "arm":
		return "armhf"
	case "ppc64le":
		return "ppc64el"
	}
	return runtime.GOARCH
}

// sources are the Debian source packages of what is in the image, as the field
// Built-Using wants them: who ships them has to keep them.
func sources(packages []parts.Package) (string, error) {
	args := []string{"--show", "--showformat=${source:Package} (= ${source:Version})\n", "--"}
	for _, p := range packages {
		args = append(args, p.Name)
	}
	out, err := exec.Command("dpkg-query", args...).Output()
	if err != nil {
		return "", fmt.Errorf("sources of the packages in the image: %w", err)
	}
	return strings.Join(unique(strings.Split(strings.TrimSpace(string(out)), "\n")), ", "), nil
}

// pack has dpkg-deb write the package, with the time from the environment.
// gzip is one thread, whose bytes depend on nothing else, and most of the
// package is compressed already: xz would take minutes to win a few MB.
func (b *build) pack() error {
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	if err := normalize(b.root, b.date()); err != nil {
		return err
	}
	file := filepath.Join(b.out, fmt.Sprintf("rkt_%s_%s.deb", b.debianVersion(), arch()))
	cmd := exec.Command("dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", b.root, file)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SOURCE_DATE_EPOCH="+strconv.FormatInt(b.seconds, 10))
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("dpkg-deb: %w", err)
	}
	_, err := fmt.Fprintln(os.Stdout, file)
	return err
}
