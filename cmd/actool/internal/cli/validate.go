// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
)

// fileType is what validate takes a file for.
type fileType string

const (
	typeImage    fileType = "appimage"
	typeLayout   fileType = "layout"
	typeManifest fileType = "manifest"
)

// Set makes fileType a flag.
func (t *fileType) Set(s string) error {
	if !slices.Contains([]fileType{typeImage, typeLayout, typeManifest}, fileType(s)) {
		return errors.New("must be appimage, layout or manifest")
	}
	*t = fileType(s)
	return nil
}

// String makes fileType a flag.
func (t *fileType) String() string { return string(*t) }

func newValidate() command {
	var t fileType
	var asJSON bool
	return command{
		name: "validate", args: "PATH...", summary: "Validate images, layouts and manifests",
		description: "Says nothing if everything is valid, unless --debug is given. What a path is,\nis found out by itself.",
		flags: func(fs *flag.FlagSet) {
			fs.Var(&t, "type", "take every path for a `TYPE`: appimage, layout or manifest")
			fs.BoolVar(&asJSON, "json", false, "print a JSON list with what there is to say of each path")
		},
		run: func(ctx context.Context, d *Deps, args []string) error {
			if asJSON {
				return runValidateJSON(ctx, d, t, args)
			}
			return runValidate(ctx, d, t, args)
		},
	}
}

// invalidError is a fault of the content, after which other paths are still
// looked at.
type invalidError struct{ error }

func (e invalidError) Unwrap() error { return e.error }

func invalid(format string, args ...any) error {
	return invalidError{fmt.Errorf(format, args...)}
}

func runValidate(ctx context.Context, d *Deps, t fileType, paths []string) error {
	if len(paths) == 0 {
		return errors.New("must pass one or more files")
	}
	failed := false
	for _, path := range paths {
		err := validatePath(ctx, d, t, path)
		var content invalidError
		if errors.As(err, &content) {
			d.complain("%v", err)
			failed = true
			continue
		}
		if err != nil {
			return err
		}
	}
	if failed {
		return errReported
	}
	return nil
}

// validated is what is said of one path in JSON.
type validated struct {
	Path    string `json:"path"`
	Valid   bool   `json:"valid"`
	Message string `json:"message"`
}

// runValidateJSON looks at every path, whatever is wrong with those before it.
func runValidateJSON(ctx context.Context, d *Deps, t fileType, paths []string) error {
	if len(paths) == 0 {
		return errors.New("must pass one or more files")
	}
	var list []validated
	failed := false
	for _, path := range paths {
		var said strings.Builder
		err := validatePath(ctx, &Deps{Stderr: &said, debug: true}, t, path)
		v := validated{Path: path, Valid: err == nil, Message: strings.TrimSpace(said.String())}
		if err != nil {
			failed, v.Message = true, err.Error()
		}
		v.Message = strings.TrimPrefix(v.Message, path+": ")
		list = append(list, v)
	}
	data, err := json.MarshalIndent(list, "", "    ")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(d.Stdout, "%s\n", data); err != nil {
		return err
	}
	if failed {
		return errReported
	}
	return nil
}

func validatePath(ctx context.Context, d *Deps, t fileType, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("unable to access %s: %w", path, err)
	}
	switch {
	case info.IsDir() && (t == "" || t == typeLayout):
		return validateLayout(d, path)
	case info.IsDir():
		return fmt.Errorf("%s is a directory (wrong --type?)", path)
	case t == typeLayout:
		return fmt.Errorf("%s is not a directory (wrong --type?)", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: unable to open: %w", path, err)
	}
	defer func() { _ = f.Close() }() // only read
	return validateFile(ctx, d, t, f, path, info)
}

func validateFile(ctx context.Context, d *Deps, t fileType, f io.Reader, path string, info fs.FileInfo) error {
	head := make([]byte, compression.HeadSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: unable to open: %w", path, err)
	}
	if t == "" {
		t = detectType(head[:n])
	}
	content := ctxReader{ctx, io.MultiReader(bytes.NewReader(head[:n]), f)}
	switch t {
	case typeImage:
		return validateImage(d, content, path)
	case typeManifest:
		if info.Size() > appc.MaxManifestSize {
			return invalid("%s: error unmarshaling manifest: it has %d bytes, more than %d", path, info.Size(), appc.MaxManifestSize)
		}
		return validateManifest(d, content, path)
	}
	return fmt.Errorf("%s: unable to detect filetype (try --type)", path)
}

func detectType(head []byte) fileType {
	switch {
	case compression.Detect(head) != compression.None, compression.IsTar(head):
		return typeImage
	case isText(head):
		return typeManifest
	}
	return ""
}

// isText accepts UTF-8 without control characters; the end of head may cut a
// character.
func isText(head []byte) bool {
	if len(head) == 0 {
		return false
	}
	for len(head) > 0 {
		r, size := utf8.DecodeRune(head)
		switch {
		case r == utf8.RuneError && size <= 1:
			return !utf8.FullRune(head)
		case r < ' ' && !strings.ContainsRune("\t\n\v\f\r\b\x1b", r):
			return false
		}
		head = head[size:]
	}
	return true
}

func validateLayout(d *Deps, path string) error {
	_, err := aci.ValidateLayout(path)
	var old *aci.OldVersionError
	switch {
	case errors.As(err, &old):
		d.complain("%s: warning: %v", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("unable to access %s: %w", path, err)
	case err != nil:
		return invalid("%s: invalid image layout: %w", path, err)
	default:
		d.debugf("%s: valid image layout", path)
	}
	return nil
}

func validateImage(d *Deps, r io.Reader, path string) error {
	plain, _, err := aci.Open(r)
	if err != nil && !errors.Is(err, aci.ErrUnknownType) {
		return fmt.Errorf("%s: error decompressing file: %w", path, err)
	}
	if err == nil {
		_, err = aci.Validate(plain)
		err = errors.Join(err, plain.Close())
	}
	var old *aci.OldVersionError
	switch {
	case errors.As(err, &old):
		d.complain("%s: warning: %v", path, err)
	case err != nil:
		return invalid("%s: error validating: %w", path, err)
	default:
		d.debugf("%s: valid app container image", path)
	}
	return nil
}

func validateManifest(d *Deps, r io.Reader, path string) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("%s: unable to open: %w", path, err)
	}
	kind, err := appc.ManifestKind(data)
	if err != nil {
		return invalid("%s: error unmarshaling manifest: %w", path, err)
	}
	switch kind {
	case appc.ImageManifestKind:
		_, err = appc.ParseImageManifest(data)
	case appc.PodManifestKind:
		_, err = appc.ParsePodManifest(data)
	default:
		return invalid("%s: error unmarshaling manifest: unknown acKind %q", path, kind)
	}
	if err != nil {
		return invalid("%s: invalid %s: %w", path, kind, err)
	}
	d.debugf("%s: valid %s", path, kind)
	return nil
}
