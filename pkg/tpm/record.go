// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// contentType tells our records from those of others.
const contentType = "rkt"

// separator begins a record (RFC 7464).
const separator = 0x1e

// MaxRecord is the longest record in bytes.
const MaxRecord = 16 << 20

// errRecord is of a record that makes no sense.
var errRecord = errors.New("damaged record")

// Record is one event.
type Record struct {
	Number      uint64        `json:"recnum"`
	PCR         uint          `json:"pcr"`
	Digests     []AlgorithmID `json:"digests"`
	ContentType string        `json:"content_type"`
	Content     Content       `json:"content"`
}

// AlgorithmID is a digest with its algorithm.
type AlgorithmID struct {
	Algorithm string `json:"hashAlg"`
	Digest    string `json:"digest"` // hexadecimal
}

// Content is what a record is about. String is what was measured, byte by byte;
// the rest is for people and for the check of the log, and not measured.
type Content struct {
	String string `json:"string"`
	Pod    string `json:"pod"`
	Time   string `json:"time"` // RFC 3339
	BootID string `json:"bootId"`
	Before string `json:"pcrBefore"` // value of the PCR, hexadecimal
}

// measured is the digest of what the record says was measured.
func (r *Record) measured() Digest { return sha256.Sum256([]byte(r.Content.String)) }

// extended is the value of a PCR after an extension.
func extended(pcr, with Digest) Digest { return sha256.Sum256(append(pcr[:], with[:]...)) }

// before is the value of the PCR before this record.
func (r *Record) before() (Digest, error) { return parseDigest(r.Content.Before) }

func parseDigest(s string) (Digest, error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(Digest{}) {
		return Digest{}, fmt.Errorf("invalid digest: %w", errRecord)
	}
	return Digest(raw), nil
}

// encode returns the line of the log.
func (r *Record) encode() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte(separator)
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	if b.Len() > MaxRecord {
		return nil, fmt.Errorf("record of %d bytes is too large", b.Len())
	}
	return b.Bytes(), nil
}

// parseRecord parses what follows a separator, and believes a record only if
// its digest is that of what it says was measured.
func parseRecord(line []byte) (*Record, error) {
	var r Record
	if len(line) == 0 || line[len(line)-1] != '\n' {
		return nil, fmt.Errorf("cut off: %w", errRecord)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	if r.ContentType != contentType || r.PCR >= PCRs || len(r.Digests) != 1 || r.Digests[0].Algorithm != "sha256" {
		return nil, errRecord
	}
	if _, err := r.before(); err != nil {
		return nil, err
	}
	d, err := parseDigest(r.Digests[0].Digest)
	if err != nil {
		return nil, err
	}
	if d != r.measured() {
		return nil, fmt.Errorf("digest is not that of the text: %w", errRecord)
	}
	return &r, nil
}
