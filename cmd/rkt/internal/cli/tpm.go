// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/tpm"
)

// newTPM is the group of commands on what was measured.
func newTPM(d *Deps) *cobra.Command {
	group := &cobra.Command{
		Use:   "tpm",
		Short: "Operate on what was measured into the TPM",
		Long:  "Pods are measured into a TPM as they start (\"rkt run --tpm\"). These commands read the log of it.",
	}
	group.AddCommand(newTPMLog(d), newTPMVerify(d))
	return group
}

func newTPMLog(d *Deps) *cobra.Command {
	var o tpmPlace
	cmd := &cobra.Command{
		Use:         "log",
		Short:       "Print what was measured, one event a line",
		Long:        "Prints number, time, PCR, digest and pod UUID of every event in the log, of all boots, and the text that was measured.",
		Annotations: map[string]string{exitStatuses: "0\tprinted\n254\tthe log cannot be read, or parts of it make no sense"},
		Args:        cobra.NoArgs,
		RunE:        func(*cobra.Command, []string) error { return runTPMLog(d, o) },
	}
	cmd.Flags().StringVar(&o.log, "tpm-log", tpm.DefaultLog, "event log of what was measured")
	return cmd
}

func runTPMLog(d *Deps, o tpmPlace) error {
	damaged := 0
	err := tpm.ReadLog(o.log, func(r *tpm.Record) error {
		c := r.Content
		return d.writeOut(fmt.Sprintf("%d %s %d %s %s %s\n", r.Number, oneLine(c.Time), r.PCR, r.Digests[0].Digest, oneLine(c.Pod), oneLine(c.String)))
	}, func(error) { damaged++ })
	if err == nil && damaged > 0 {
		err = fmt.Errorf("%d records make no sense and are left out", damaged)
	}
	return err
}

func newTPMVerify(d *Deps) *cobra.Command {
	var o tpmPlace
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Replay the log of this boot and compare with the TPM",
		Long: "Computes what the PCR has to be after all events of this boot and compares it with the PCR. " +
			"A log in which something was changed or is missing, or beside which others extended the PCR, does not fit. " +
			"Printed is also the value from which the log begins: after a boot it is 0 unless something else was measured first.",
		Annotations: map[string]string{exitStatuses: "0\tthe log explains the PCR\n254\tit does not, or there is no TPM"},
		Args:        cobra.NoArgs,
		RunE:        func(cmd *cobra.Command, _ []string) error { return runTPMVerify(cmd.Context(), d, o) },
	}
	o.bind(cmd.Flags())
	return cmd
}

func runTPMVerify(ctx context.Context, d *Deps, o tpmPlace) error {
	if err := o.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tpmRequirePatience)
	defer cancel()
	replay, err := o.measurer().Verify(ctx)
	var gap *tpm.Gap
	switch {
	case errors.As(err, &gap):
		return hint.With(fmt.Errorf("the log does not explain PCR %d: %w", o.pcr, err),
			"the machine may be sound if other software uses this PCR; choose one for rkt alone with --tpm-pcr")
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot verify: %w", err)
	case err != nil:
		return fmt.Errorf("the log does not explain PCR %d: %w", o.pcr, err)
	}
	if replay.Unextended > 0 {
		d.errorf("%d events were logged but never measured: their pods were interrupted as they started", replay.Unextended)
	}
	return d.writeOut(fmt.Sprintf("PCR %d: the log explains it, %d events from %x\n", o.pcr, replay.Records, replay.Start))
}
