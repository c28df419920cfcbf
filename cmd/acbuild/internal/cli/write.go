// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha512"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/cmd/internal/outfile"
	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/inroot"
)

// Values of --format.
const (
	formatACI           = "aci"
	formatOCILayout     = "oci-layout"
	formatOCIArchive    = "oci-archive"
	formatDockerArchive = "docker-archive"
)

type writeOptions struct {
	overwrite, sign bool
	format          string
	compression     compression.Spec
}

func newWrite() command {
	o := writeOptions{compression: compression.Spec{Type: compression.Gzip}}
	return command{
		name: "write", args: "FILE [-- GPG-FLAGS...]", summary: "Write the image", min: 1, max: -1, alone: true,
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&o.overwrite, "overwrite", false, "replace FILE if it exists")
			fs.BoolVar(&o.sign, "sign", false, "sign the image with gpg; GPG-FLAGS are \"--armor --yes\" unless given")
			fs.StringVar(&o.format, "format", "", "`aci|oci-archive|oci-layout|docker-archive`; what the build was begun as if not given")
			fs.Var(&o.compression, "compression", compression.Usage)
		},
		run: func(ctx context.Context, c *call) error {
			return c.withBuild(func(b *build) error { return c.write(ctx, b, o) })
		},
	}
}

func (c *call) write(ctx context.Context, b *build, o writeOptions) error {
	gpgFlags := c.args[1:]
	if len(gpgFlags) > 0 && (c.dash != 1 || !o.sign) {
		return errors.New("incorrect number of arguments")
	}
	if err := o.complete(b); err != nil {
		return err
	}
	m, err := b.manifest()
	if err != nil {
		return err
	}
	if m.Name == unnamed && o.format == formatACI {
		return errors.New("can't write ACI, name was never set")
	}
	if m.App != nil && len(m.App.Exec) == 0 {
		c.complain("warning: exec command was never set.")
	}
	build, err := c.buildOptions(b)
	if err != nil {
		return err
	}
	file := c.args[0]
	if o.format != formatACI {
		digest, err := c.writeOCI(ctx, b, m, file, o, build)
		if err != nil {
			return b.explainWrite(err, file)
		}
		return c.printf("%s\n", digest)
	}
	id, err := writeACI(ctx, b, m, file, o, build)
	if err != nil {
		return b.explainWrite(err, file)
	}
	if o.sign {
		if err := c.sign(ctx, file, gpgFlags); err != nil {
			return errors.Join(err, outfile.Remove(file), outfile.Remove(file+".asc"))
		}
	}
	return c.printf("%s\n", id)
}

// complete fills in what depends on the build and refuses what does not fit.
func (o *writeOptions) complete(b *build) error {
	if o.format == "" {
		oci, err := b.oci()
		if err != nil {
			return err
		}
		o.format = formatACI
		if oci {
			o.format = formatOCIArchive
		}
	}
	switch o.format {
	case formatACI:
	case formatOCILayout, formatOCIArchive, formatDockerArchive:
		if o.sign {
			return errors.New("only an ACI can be signed with gpg")
		}
	default:
		return fmt.Errorf("unknown format %q", o.format)
	}
	return nil
}

// buildOptions say how the tree is written: not later than SOURCE_DATE_EPOCH
// (https://reproducible-builds.org/specs/source-date-epoch/) and without what
// overlayfs means to be absent.
func (c *call) buildOptions(b *build) (aci.BuildOptions, error) {
	o := aci.BuildOptions{ModTime: c.Now()}
	if text := c.Getenv("SOURCE_DATE_EPOCH"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds < 0 {
			return o, fmt.Errorf("SOURCE_DATE_EPOCH=%q is not a number of seconds", text)
		}
		o.ModTime, o.ClampTimes = time.Unix(seconds, 0), true
	}
	root, err := inroot.Open(b.rootfs())
	if err != nil {
		return o, err
	}
	o.Skip = func(name string) bool {
		st, err := root.Lstat(name)
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
			return false // faults are the walker's to report
		}
		c.complain("write: warning: %q was removed by run but is in a dependency: it will be there again", "/"+name)
		return true
	}
	return o, nil
}

func (b *build) explainWrite(err error, file string) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("ACI already exists: %s", file)
	case errors.Is(err, fs.ErrPermission):
		var pe *fs.PathError
		if errors.As(err, &pe) {
			return fmt.Errorf("%q: permission denied - call write as root", pe.Path)
		}
	}
	return err
}

// writeACI writes the image under another name and renames it when it is
// complete.
func writeACI(ctx context.Context, b *build, m *manifest, file string, o writeOptions, build aci.BuildOptions) (appc.ImageID, error) {
	out, err := b.createOutput(file, o.overwrite)
	if err != nil {
		return "", err
	}
	sum := sha512.New()
	err = o.compression.Compress(out, func(w io.Writer) error {
		return aci.BuildLayout(ctx, io.MultiWriter(w, sum), b.path(imageDir), m, build)
	})
	if err := errors.Join(out.Finish(err), b.forgetOutput()); err != nil {
		return "", err
	}
	return appc.ImageIDFromSum(sum.Sum(nil)), nil
}

// sign runs gpg on the terminal of acbuild.
func (c *call) sign(ctx context.Context, file string, flags []string) error {
	if len(flags) == 0 {
		flags = []string{"--armor", "--yes"}
	}
	args := append(append([]string{}, flags...), "--output", file+".asc", "--detach-sig", file)
	cmd := exec.CommandContext(ctx, "gpg", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stderr, c.Stderr
	c.debugf("running gpg %q", args)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("gpg: %w", err)
	}
	return nil
}
