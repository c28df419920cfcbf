// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/tpm"
	"github.com/rkt/rkt/v2/stage0"
)

// Values of --tpm.
const (
	tpmAuto    = "auto"
	tpmRequire = "require"
	tpmOff     = "off"
)

// How long pods wait for a TPM: with auto they start all the same.
const (
	tpmPatience        = 2 * time.Second
	tpmRequirePatience = 30 * time.Second
)

// defaultPCR is that of rkt since 1.x; only a reboot resets it.
const defaultPCR = 15

// tpmPlace says where to measure.
type tpmPlace struct {
	device, log string
	pcr         uint
}

func (o *tpmPlace) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.device, "tpm-device", tpm.DefaultDevice, "device, or Unix socket, of the TPM")
	flags.StringVar(&o.log, "tpm-log", tpm.DefaultLog, "event log of what was measured")
	flags.UintVar(&o.pcr, "tpm-pcr", defaultPCR, "PCR to measure into")
}

func (o *tpmPlace) check() error {
	if o.pcr >= tpm.PCRs {
		return fmt.Errorf("invalid value %d for --tpm-pcr: PCRs are 0 to %d", o.pcr, tpm.PCRs-1)
	}
	return nil
}

func (o *tpmPlace) measurer() tpm.Measurer {
	return tpm.Measurer{Device: o.device, PCR: o.pcr, Log: o.log}
}

// tpmFlags say whether pods are measured.
type tpmFlags struct {
	tpmPlace
	policy string
}

func (o *tpmFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.policy, "tpm", tpmAuto, "measure what is started into a TPM: \"auto\" (if there is one), \"require\" (or do not start), \"off\"")
	o.tpmPlace.bind(flags)
}

// check also refuses, with require, before there is a pod.
func (o *tpmFlags) check() error {
	switch o.policy {
	case tpmAuto, tpmRequire, tpmOff:
	default:
		return fmt.Errorf("invalid value %q for --tpm: \"auto\", \"require\" and \"off\" are possible", o.policy)
	}
	if err := o.tpmPlace.check(); err != nil || o.policy != tpmRequire {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), tpmRequirePatience)
	defer cancel()
	return asRequired(o.measurer().Try(ctx))
}

func asRequired(err error) error {
	if err == nil {
		return nil
	}
	return hint.With(fmt.Errorf("--tpm=require: cannot measure the pod: %w", err),
		"with --tpm=auto pods start where no TPM works, and nobody can attest them")
}

// measure is what stage0 calls before it starts the pod.
func (o *tpmFlags) measure(d *Deps) func(context.Context, stage0.Measurement) error {
	if o.policy == tpmOff {
		return nil
	}
	patience := tpmPatience
	if o.policy == tpmRequire {
		patience = tpmRequirePatience
	}
	return func(ctx context.Context, s stage0.Measurement) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err := o.measurer().Measure(ctx, tpm.Event{Pod: s.UUID.String(), Text: tpm.Text(s.Stage1, s.Manifest, s.Args)})
		switch {
		case err == nil, o.policy == tpmRequire:
			return asRequired(err)
		case errors.Is(err, fs.ErrNotExist) && o.device == tpm.DefaultDevice: // most machines have none
		default:
			d.errorf("the pod is not measured: %v", err)
		}
		return nil
	}
}
