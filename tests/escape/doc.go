// SPDX-License-Identifier: Apache-2.0

// Package escape attacks the host from inside a pod: every test is one line of
// the list of attacks that container runtimes fell for, with an image made to
// do harm. The program of these images is attacker; what it tries it prints as
//
//	refused NAME: why
//	ESCAPED NAME: how
//
// Expected everywhere: nothing is escaped; a tree of the host that the test
// made, rkt's program, its stage1 image and everything of the data directory
// outside of pods are afterwards what they were, to the change time; what rkt
// refuses it refuses with one line.
//
// TORTURE=long does the races in a thousand rounds and tries all 256
// descriptors.
package escape
