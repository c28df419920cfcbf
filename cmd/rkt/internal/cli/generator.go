// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/podunit"
	"github.com/rkt/rkt/v2/pkg/unit"
)

// GeneratorProgram is the name under which systemd runs rkt as a generator, and
// GeneratorCommand the command it is then.
const (
	GeneratorProgram = "rkt-generator"
	GeneratorCommand = "systemd-generator"
)

// generatorTime is what reading a few small files never takes. systemd waits
// for generators when it boots.
const generatorTime = 10 * time.Second

func newGenerator(d *Deps) *cobra.Command {
	return &cobra.Command{
		Use:    GeneratorCommand + " NORMAL [EARLY LATE]",
		Short:  "Make units of declared pods, for systemd",
		Long:   "Called by systemd as a generator (systemd.generator(7)): writes the units of all declarations into the directory NORMAL.",
		Hidden: true,
		Args:   func(_ *cobra.Command, args []string) error { return generatorArgs(args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return runGenerator(cmd.Context(), d, args[0])
		},
	}
}

func generatorArgs(args []string) error {
	if len(args) != 1 && len(args) != 3 {
		return errUsage
	}
	return nil
}

// runGenerator writes what it can and reports what is wrong. It does not wait
// for a file system that hangs.
func runGenerator(ctx context.Context, d *Deps, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, generatorTime)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.generate(dir) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return d.generatorError(fmt.Errorf("reading the declarations of pods takes too long: %w", context.Cause(ctx)))
	}
}

func (d *Deps) generate(dir string) error {
	h, err := d.unitHost()
	if err != nil {
		return d.generatorError(err)
	}
	sources, stray := podunit.Find(d.podDirs())
	wrong := len(stray) > 0
	d.generatorProblems(stray)
	if len(sources) == 0 {
		return reported(wrong)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return d.generatorError(err)
	}
	defer func() { _ = root.Close() }()
	for _, s := range sources {
		decl := readDeclaration(s)
		d.generatorProblems(decl.Problems)
		wrong = wrong || len(decl.Problems) > 0
		if err := decl.Output(h).Write(root); err != nil {
			wrong = true
			_ = d.generatorError(fmt.Errorf("write the units of %s: %w", s.Path, err))
		}
	}
	return reported(wrong)
}

func reported(wrong bool) error {
	if wrong {
		return &statusError{statusLegacy, errReported}
	}
	return nil
}

func (d *Deps) generatorProblems(problems []unit.Problem) {
	for _, p := range problems {
		_ = d.generatorError(errors.New(p.String()))
	}
}

// generatorError says what is wrong on standard error, and in the kernel's log
// where systemd is the caller: there is nobody else yet who would take it.
func (d *Deps) generatorError(err error) error {
	text := GeneratorProgram + ": " + oneLine(err.Error()) + "\n"
	d.writeErr(text)
	if os.Getenv("SYSTEMD_SCOPE") == "system" && os.Getpid() != 1 {
		if f, openErr := os.OpenFile("/dev/kmsg", os.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0); openErr == nil {
			const most = 900 // the kernel takes about a thousand bytes
			_, _ = f.WriteString("<3>" + text[:min(len(text), most)])
			_ = f.Close()
		}
	}
	return &statusError{statusLegacy, errReported}
}
