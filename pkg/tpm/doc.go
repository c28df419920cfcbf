// SPDX-License-Identifier: Apache-2.0

// Package tpm measures what is started into a PCR of a TPM 2.0 and keeps the
// event log that explains the PCR to others (spec services.md 3).
//
// The log is a sequence of JSON texts (RFC 7464) of the canonical event log
// format of the Trusted Computing Group, as systemd keeps one. A record is
// written, and flushed, before the PCR is extended: a crash between the two
// leaves a record that the next one shows as never extended, and never an
// extended PCR that nothing explains.
package tpm
