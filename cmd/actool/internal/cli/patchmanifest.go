// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/rkt/rkt/v2/cmd/internal/outfile"
	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
)

type patchOptions struct {
	manifestFile       string
	edits              manifestEdits
	overwrite, replace bool
	compression        compression.Spec
}

func newPatchManifest() command {
	var o patchOptions
	return command{
		name: "patch-manifest", args: "IN.aci OUT.aci | --replace FILE.aci", summary: "Copy an image with a changed manifest",
		description: "Copies everything but the manifest as it is. Mount points, ports and isolators are\n" +
			"added to those that the manifest has, unless --replace-mounts, --replace-ports or\n" +
			"--replace-isolators is given. With --no-compression the SHA-512 of OUT.aci is the image ID.",
		flags: o.bind,
		run: func(ctx context.Context, d *Deps, args []string) error {
			if err := runPatchManifest(ctx, d, o, args); err != nil {
				return fmt.Errorf("patch-manifest: %w", err)
			}
			return nil
		},
	}
}

func (o *patchOptions) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.manifestFile, "manifest", "", "take the whole manifest from `FILE`")
	fs.BoolVar(&o.overwrite, "overwrite", false, "replace OUT.aci if it exists")
	fs.BoolVar(&o.replace, "replace", false, "change FILE.aci itself")
	bindCompression(fs, &o.compression)
	o.edits.bind(fs)
}

func (o *patchOptions) paths(args []string) (in, out string, err error) {
	switch {
	case o.manifestFile != "" && o.edits.conflictWithManifest():
		return "", "", errors.New("--manifest is incompatible with other manifest editing options")
	case o.replace && o.overwrite:
		return "", "", message("Cannot use both --replace and --overwrite")
	case o.replace && len(args) != 1:
		return "", "", message("Must provide one file")
	case !o.replace && len(args) != 2:
		return "", "", message("Must provide input and output files (or use --replace)")
	}
	in, out = args[0], args[len(args)-1]
	return in, out, checkExtension(out)
}

func runPatchManifest(ctx context.Context, d *Deps, o patchOptions, args []string) error {
	in, target, err := o.paths(args)
	if err != nil {
		return err
	}
	edit, err := o.editor()
	if err != nil {
		return err
	}
	f, err := os.Open(in)
	if err != nil {
		return message("Cannot open %s: %w", in, err)
	}
	defer func() { _ = f.Close() }() // only read
	plain, _, err := aci.Open(ctxReader{ctx, f})
	if err != nil {
		return message("Cannot extract %s: %w", in, err)
	}
	defer func() { _ = plain.Close() }() // only read
	out, err := o.create(target)
	if err != nil {
		return err
	}
	w := &stickyWriter{w: out}
	err = o.compression.Compress(w, func(w io.Writer) error { return aci.Patch(w, plain, edit) })
	switch {
	case w.err != nil:
		return message("Unable to write %s: %w", target, out.Finish(w.err))
	case err != nil:
		return message("Unable to read %s: %w", in, out.Finish(err))
	}
	if err := out.Finish(nil); err != nil {
		return message("Unable to close image %s: %w", target, err)
	}
	d.debugf("patch-manifest: wrote %s", target)
	return nil
}

func (o *patchOptions) create(target string) (*outfile.File, error) {
	out, err := createOutput(target, o.overwrite || o.replace)
	if errors.Is(err, fs.ErrExist) {
		return nil, message("Output file exists (try --overwrite)")
	}
	if err != nil {
		return nil, message("Unable to open target %s: %w", target, err)
	}
	if !o.replace {
		return out, nil
	}
	if err := out.KeepMode(); err != nil {
		return nil, message("Unable to open target %s: %w", target, out.Finish(err))
	}
	return out, nil
}

// editor returns what makes the new manifest of the old one.
func (o *patchOptions) editor() (func([]byte) ([]byte, error), error) {
	if o.manifestFile == "" {
		return o.edits.apply, nil
	}
	raw, err := readManifestFile(o.manifestFile)
	if err != nil {
		return nil, message("Unable to read %s: %w", o.manifestFile, err)
	}
	m, err := appc.ParseImageManifest(raw)
	if err != nil {
		return nil, message("Unable to read %s: %w", o.manifestFile, err)
	}
	if !o.edits.any() {
		return func([]byte) ([]byte, error) { return raw, nil }, nil
	}
	return func([]byte) ([]byte, error) { return o.edits.edit(m) }, nil
}

func readManifestFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, appc.MaxManifestSize+1))
}

// stickyWriter remembers its error, so that it can be told from one of reading.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}
