// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/lock"
)

// Measurer measures into one PCR.
type Measurer struct {
	Device string
	PCR    uint
	Log    string
	Now    func() time.Time // nil: time.Now
}

// Event is what to measure.
type Event struct {
	Pod  string // UUID, not measured
	Text string
}

// Text is what is measured of a pod (spec services.md 3).
func Text(stage1 string, manifest []byte, args []string) string {
	return "rkt: Rootfs: " + stage1 + " Manifest: " + string(manifest) + " Stage1 args: " + strings.Join(args, " ")
}

// Try tells whether there is a TPM that answers.
func (m Measurer) Try(ctx context.Context) error {
	return m.bounded(ctx, func() error {
		d, err := Open(m.Device, deadline(ctx))
		if err != nil {
			return err
		}
		_, err = d.Read(m.PCR)
		return errors.Join(err, d.Close())
	})
}

// Measure appends an event to the log and extends the PCR. It returns when ctx
// is done, whatever the TPM does. Others that measure wait.
func (m Measurer) Measure(ctx context.Context, e Event) error {
	return m.bounded(ctx, func() error { return m.measure(ctx, e) })
}

func (m Measurer) bounded(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("TPM %s does not answer: %w", m.Device, ctx.Err())
	}
}

func (m Measurer) measure(ctx context.Context, e Event) (err error) {
	if _, err := os.Stat(m.Device); err != nil { // then there is nothing to log, either
		return err
	}
	log, err := openLog(m.Log)
	if err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	l, err := lock.Take(ctx, m.Log, lock.Exclusive)
	if err != nil {
		return fmt.Errorf("lock event log: %w", err)
	}
	defer func() { _ = l.Close() }()
	// Behind the lock: some TPMs can be open once.
	d, err := Open(m.Device, deadline(ctx))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	r, err := m.record(d, log, e)
	if err != nil {
		return err
	}
	undo, err := appendRecord(log, r)
	if err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	if ctx.Err() != nil { // nobody waits any more: then nothing is measured
		return errors.Join(ctx.Err(), undo())
	}
	if err := d.Extend(m.PCR, r.measured()); err != nil {
		return m.failed(d, r, err, undo)
	}
	return nil
}

// failed takes a record back unless the PCR has been extended in spite of the
// error, or nobody knows: a record that was not extended is seen as such.
func (m Measurer) failed(d *Device, r *Record, err error, undo func() error) error {
	if now, readErr := d.Read(m.PCR); readErr == nil && hex.EncodeToString(now[:]) == r.Content.Before {
		return errors.Join(err, undo())
	}
	return err
}

func (m Measurer) record(d *Device, log *os.File, e Event) (*Record, error) {
	before, err := d.Read(m.PCR)
	if err != nil {
		return nil, err
	}
	number, err := nextNumber(log)
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	r := &Record{Number: number, PCR: m.PCR, ContentType: contentType, Content: Content{
		// What JSON cannot carry would not be measured as it is logged.
		String: strings.ToValidUTF8(e.Text, "\uFFFD"),
		Pod:    e.Pod, Time: now().UTC().Format(time.RFC3339), BootID: boot, Before: hex.EncodeToString(before[:]),
	}}
	digest := r.measured()
	r.Digests = []AlgorithmID{{"sha256", hex.EncodeToString(digest[:])}}
	return r, nil
}

// BootID names this boot of the kernel: PCRs begin anew with each.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

func deadline(ctx context.Context) time.Time {
	t, _ := ctx.Deadline()
	return t
}
