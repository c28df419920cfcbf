// SPDX-License-Identifier: Apache-2.0

// Package storetest is the contract of an image store as a test suite, and
// makes the images it needs.
//
// A store passes if Run passes:
//
//	func TestContract(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Store { return open(t) })
//	}
package storetest
