// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/rkt/rkt/v2/pkg/lock"
)

// Replay computes a PCR from the records of one boot.
type Replay struct {
	BootID string
	PCR    uint

	Records    int    // that belong to the boot and the PCR
	Unextended int    // of these, records that a crash left without an extension
	Start      Digest // value of the PCR before the first record
	last       *Record
	now        Digest // after last
}

// Gap says that something else has extended the PCR.
type Gap struct {
	After *Record // nil: never
	Want  Digest
	Have  Digest
}

// Error implements error.
func (g *Gap) Error() string {
	return fmt.Sprintf("after record %d the PCR was extended by something that is not in the log: it is %x, the log gives %x",
		g.After.Number, g.Have, g.Want)
}

// Add takes the next record of a log. The error is a *Gap, or says that records
// are missing.
func (p *Replay) Add(r *Record) error {
	if r.Content.BootID != p.BootID || r.PCR != p.PCR {
		return nil
	}
	before, err := r.before()
	if err != nil {
		return err
	}
	if p.last == nil {
		p.Start = before
	} else if err := p.reach(before); err != nil {
		return err
	}
	p.Records++
	p.last, p.now = r, extended(before, r.measured())
	return nil
}

// reach tells whether value follows from the last record.
func (p *Replay) reach(value Digest) error {
	before, err := p.last.before()
	switch {
	case err != nil:
		return err
	case value == p.now:
		return nil
	case value == before:
		p.Unextended++
		return nil
	}
	return &Gap{After: p.last, Want: p.now, Have: value}
}

// Finish compares with the value the PCR has. Call it once.
func (p *Replay) Finish(value Digest) error {
	if p.last == nil {
		p.Start = value
		return nil
	}
	return p.reach(value)
}

// Verify replays the log of this boot and compares it with the PCR. Nobody
// measures meanwhile. A log that is not there has no records.
func (m Measurer) Verify(ctx context.Context) (*Replay, error) {
	var replay *Replay
	err := m.bounded(ctx, func() (err error) {
		replay, err = m.verify(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return replay, nil
}

func (m Measurer) verify(ctx context.Context) (*Replay, error) {
	d, err := Open(m.Device, deadline(ctx))
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	replay := &Replay{BootID: boot, PCR: m.PCR}
	l, err := lock.Take(ctx, m.Log, lock.Shared)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("lock event log: %w", err)
	default:
		defer func() { _ = l.Close() }()
		if err := ReadLog(m.Log, replay.Add, func(error) {}); err != nil {
			return nil, err
		}
	}
	now, err := d.Read(m.PCR)
	if err != nil {
		return nil, err
	}
	return replay, replay.Finish(now)
}
