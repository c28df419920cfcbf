// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/cmd/internal/outfile"
	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

const (
	annotationRegistry   = ociconv.AnnotationRegistryURL
	annotationRepository = ociconv.AnnotationRepository
)

func (c *conversion) annotation(name appc.Identifier) string {
	for _, a := range c.image.Annotations {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

func (c *conversion) repository() string {
	return strings.TrimLeft(c.annotation(annotationRepository), "/-")
}

func (c *conversion) tag() string { return label(c.image, "version") }

func (c *conversion) squashedName() string { return flat(join(c.repository(), c.tag())) + ".aci" }

// join puts dashes between what is not empty.
func join(parts ...string) string {
	var list []string
	for _, p := range parts {
		if p != "" {
			list = append(list, p)
		}
	}
	return strings.Join(list, "-")
}

// flat makes a file name of a name that may come from the image.
func flat(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '/' || r == ':' || r < ' ' || r == 0x7f {
			return '-'
		}
		return r
	}, s)
	if s = strings.TrimLeft(s, "-."); s == "" {
		return "image"
	}
	return s
}

// create writes a file of the output directory under a temporary name,
// validates what was written, and puts it in place.
func (c *conversion) create(ctx context.Context, name string, write func(io.Writer) error) error {
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := outfile.Create(path, outfile.Options{Overwrite: true, Prefix: ".docker2aci-", Mode: 0o644})
	if err != nil {
		return err
	}
	err = c.compress(f, write)
	if err == nil {
		err = validate(ctx, f)
	}
	return f.Finish(err)
}

func (c *conversion) compress(f io.Writer, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(f, 128<<10)
	if err := c.spec.Compress(b, write); err != nil {
		return err
	}
	return b.Flush()
}

func validate(ctx context.Context, f io.ReadSeeker) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := aci.Validate(readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.Read(p)
	})); err != nil {
		return fmt.Errorf("the converted image is not valid: %w", err)
	}
	return nil
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// result is what was written.
type result struct {
	image *appc.ImageManifest

	ID   appc.ImageID `json:"imageID"` // of the squashed image
	ACIs []string     `json:"acis"`    // base first
}

func (r *result) print(d *Deps, o *options) error {
	if o.json {
		data, err := json.MarshalIndent(r, "", "    ")
		if err != nil {
			return err
		}
		return d.printf("%s\n", data)
	}
	var b strings.Builder
	if app := r.image.App; app != nil {
		for i, p := range app.MountPoints {
			if i == 0 {
				b.WriteString("\nConverted volumes:\n")
			}
			fmt.Fprintf(&b, "\tname: %q, path: %q, readOnly: %v\n", p.Name, p.Path, p.ReadOnly)
		}
		for i, p := range app.Ports {
			if i == 0 {
				b.WriteString("\nConverted ports:\n")
			}
			fmt.Fprintf(&b, "\tname: %q, protocol: %q, port: %d, count: %d, socketActivated: %v\n",
				p.Name, p.Protocol, p.Port, p.Count, p.SocketActivated)
		}
	}
	fmt.Fprintf(&b, "\nGenerated ACI(s):\n%s\n", strings.Join(r.ACIs, "\n"))
	return d.printf("%s", b.String())
}
