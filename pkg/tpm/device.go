// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"golang.org/x/sys/unix"
)

// DefaultDevice is the TPM with the kernel's resource manager before it.
const DefaultDevice = "/dev/tpmrm0"

// PCRs are what a TPM for PCs has.
const PCRs = 24

const (
	answerHeader = 10 // tag, size, code
	maxAnswer    = 4096
)

// Digest is one of the SHA-256 bank.
type Digest = [32]byte

// Device is an open TPM. It is not safe for concurrent use.
type Device struct {
	conn io.ReadWriteCloser
	tpm  transport.TPM
}

// Open opens the character device at path, or the Unix socket of a TPM that is
// a program. Commands to a socket end at the deadline; those to a device when
// the kernel's driver gives up. The error of a TPM that is not there is
// fs.ErrNotExist.
func Open(path string, deadline time.Time) (*Device, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var conn io.ReadWriteCloser
	switch st.Mode().Type() &^ os.ModeCharDevice {
	case os.ModeDevice:
		// Blocking, on purpose: the kernel answers reads that come too early with nothing.
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
			return nil, &os.PathError{Op: "open", Path: path, Err: unix.ENOENT} // a node without a device
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		conn = os.NewFile(uintptr(fd), path)
	case os.ModeSocket:
		c, err := (&net.Dialer{Deadline: deadline}).Dial("unix", path)
		if err != nil {
			return nil, err
		}
		if err := c.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		conn = c
	default:
		return nil, fmt.Errorf("%s is neither a device nor a socket", path)
	}
	return &Device{conn: conn, tpm: wire{conn}}, nil
}

// Close closes the device.
func (d *Device) Close() error { return d.conn.Close() }

// wire sends commands over a stream.
type wire struct{ rw io.ReadWriter }

// Send implements transport.TPM.
func (w wire) Send(command []byte) ([]byte, error) {
	if _, err := w.rw.Write(command); err != nil {
		return nil, err
	}
	buf := make([]byte, maxAnswer) // at once: what a device has left over is lost
	for n := 0; ; {
		m, err := w.rw.Read(buf[n:])
		n += m
		if n >= answerHeader {
			size := binary.BigEndian.Uint32(buf[2:])
			switch {
			case size < answerHeader || size > maxAnswer || uint32(n) > size:
				return nil, fmt.Errorf("answer of the TPM makes no sense: %d bytes, %d said", n, size)
			case uint32(n) == size:
				return buf[:n], nil
			}
		}
		if err == nil && m == 0 {
			err = io.ErrNoProgress
		}
		if err != nil {
			return nil, fmt.Errorf("answer of the TPM ends early: %w", err)
		}
	}
}

func selection(pcr uint) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{
		Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(pcr),
	}}}
}

// Read returns the value of a PCR.
func (d *Device) Read(pcr uint) (Digest, error) {
	r, err := tpm2.PCRRead{PCRSelectionIn: selection(pcr)}.Execute(d.tpm)
	if err != nil {
		return Digest{}, fmt.Errorf("read PCR %d: %w", pcr, err)
	}
	if len(r.PCRValues.Digests) != 1 || len(r.PCRValues.Digests[0].Buffer) != len(Digest{}) {
		return Digest{}, fmt.Errorf("read PCR %d: the TPM has no SHA-256 bank", pcr)
	}
	return Digest(r.PCRValues.Digests[0].Buffer), nil
}

// Extend extends a PCR.
func (d *Device) Extend(pcr uint, with Digest) error {
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)}, //nolint:gosec // below PCRs
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: with[:]}}},
	}.Execute(d.tpm)
	if err != nil {
		return fmt.Errorf("extend PCR %d: %w", pcr, err)
	}
	return nil
}
