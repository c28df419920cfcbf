// SPDX-License-Identifier: Apache-2.0

// Package hint attaches to an error what its reader can do next. The layer that
// knows the remedy attaches it; the command prints it on a line of its own below
// the error. The text of the error stays as it is, so nothing that matches on it
// is disturbed.
//
//	return hint.With(err, `stop it first with "rkt stop"`)
package hint
