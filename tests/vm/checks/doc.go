// SPDX-License-Identifier: Apache-2.0

// Package checks is the test program that runs inside a guest, on a host of
// its own: nothing here may run on a machine that somebody else uses.
package checks
