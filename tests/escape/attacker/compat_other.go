// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package main

// compatTries: there is no second table that this program could call.
func compatTries() []try { return nil }
