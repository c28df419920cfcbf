// SPDX-License-Identifier: Apache-2.0

//go:build !amd64 && !arm64

package seccomp

// nativeCalls is empty: there is no table for this architecture, so Compile refuses.
var nativeCalls, compatCalls [0]call

func abis() []abi { return nil }

func extraAllowed() []string { return nil }
