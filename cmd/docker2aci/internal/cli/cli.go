// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of docker2aci.
//
// An image is fetched into a store of its own in the system's directory for
// temporary files, by the code that rkt fetches with, and written out of it:
// the ACI has the image ID that rkt gives the image.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/rkt/rkt/v2/cmd/internal/argv"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// version is set by the linker.
var version = "2.0.0-dev"

// Exit statuses.
const (
	statusOK = iota
	statusFailed
	statusUsage
)

// Deps are what the program needs from the process.
type Deps struct {
	Stdout, Stderr io.Writer
	Getenv         func(string) string
}

type options struct {
	noSquash, legacyNames           bool
	image, compression, dir         string
	platform                        ociconv.Platform
	skipVerify, allowHTTP           bool
	debug, version, json, printHelp bool

	spec compression.Spec // of compression
}

// Main runs the command line args and returns the exit status.
func Main(ctx context.Context, d *Deps, args []string) int {
	var o options
	fs := o.flags()
	args, _, err := argv.Parse(fs, args)
	switch {
	case err != nil:
		return d.usage(fs, d.Stderr, err.Error(), statusUsage)
	case o.printHelp:
		return d.usage(fs, d.Stdout, "", statusOK)
	case o.version:
		err = d.printf("docker2aci version %s\nappc version %s\n", version, appc.ACVersion)
	case len(args) != 1:
		return d.usage(fs, d.Stderr, fmt.Sprintf("one image expected, got %d", len(args)), statusUsage)
	default:
		err = run(ctx, d, &o, args[0])
	}
	if err != nil {
		d.complain("Error: %s", text(err))
		return statusFailed
	}
	return statusOK
}

// text is an error in one line, in the words of this program's flags.
func text(err error) string {
	var several *severalError
	if errors.As(err, &several) {
		return err.Error()
	}
	return strings.NewReplacer(
		"\n", "; ", "--insecure-options=http", "-insecure-allow-http", "--insecure-options=tls", "-insecure-skip-verify",
	).Replace(err.Error())
}

func (o *options) flags() *flag.FlagSet {
	fs := argv.NewFlagSet("docker2aci")
	fs.BoolVar(&o.noSquash, "nosquash", false, "write one ACI for each layer, which depend on each other")
	fs.StringVar(&o.image, "image", "", "convert the image `NAME[:TAG]` of a file that has several")
	fs.StringVar(&o.compression, "compression", "gzip", compression.Usage)
	fs.StringVar(&o.dir, "o", "", "write to the directory `DIR` instead of the current one")
	fs.BoolVar(&o.legacyNames, "legacy-names", false, "name the ACIs of layers HOST/REPOSITORY-DIGEST-..., in directories")
	fs.Func("platform", "choose the image for `OS/ARCH[/VARIANT]` instead of this machine's", func(s string) (err error) {
		o.platform, err = ociconv.ParsePlatform(s)
		return err
	})
	fs.BoolVar(&o.skipVerify, "insecure-skip-verify", false, "accept any TLS certificate")
	fs.BoolVar(&o.allowHTTP, "insecure-allow-http", false, "fall back to plain http")
	fs.BoolVar(&o.json, "json", false, "print the result as JSON")
	fs.BoolVar(&o.debug, "debug", false, "say more on stderr")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	fs.BoolVar(&o.printHelp, "help", false, "print this help")
	fs.BoolVar(&o.printHelp, "h", false, "print this help")
	return fs
}

func (d *Deps) usage(fs *flag.FlagSet, w io.Writer, fault string, status int) int {
	var b strings.Builder
	if fault != "" {
		fmt.Fprintf(&b, "docker2aci: %s\n", fault)
	}
	b.WriteString("usage: docker2aci [options] IMAGE\n\n" +
		"IMAGE is docker://[HOST/]NAME[:TAG|@DIGEST], a file made by \"docker save\" or\n" +
		"an archive of an OCI image layout, or what rkt calls oci:, oci-archive: and\n" +
		"docker-archive: images.\n\nOptions:\n")
	fs.VisitAll(func(f *flag.Flag) {
		if f.Name == "h" {
			return
		}
		value, usage := flag.UnquoteUsage(f)
		name := "-" + f.Name
		if value != "" {
			name += "=" + value
		}
		fmt.Fprintf(&b, "  %-28s %s\n", name, usage)
	})
	if _, err := io.WriteString(w, b.String()); err != nil {
		return statusFailed
	}
	return status
}

func (d *Deps) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(d.Stdout, format, args...)
	return err
}

// complain prints one line to stderr. There is nobody to tell if that fails.
func (d *Deps) complain(format string, args ...any) {
	_, _ = fmt.Fprintf(d.Stderr, format+"\n", args...)
}

// check refuses values that fit together with no image.
func (o *options) check(image string) error {
	if o.spec.Set(o.compression) != nil {
		return fmt.Errorf("unknown compression method: %s", o.compression)
	}
	if o.image != "" && hasScheme(image) {
		return errors.New("flag --image works only with files.") //nolint:revive,staticcheck // scripts match it
	}
	return nil
}
