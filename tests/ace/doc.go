// SPDX-License-Identifier: Apache-2.0

// Package ace proves from inside that rkt is an App Container Executor: a
// validator of our own, one static program in two images, runs as the apps
// main and sidekick of one pod and looks for everything the executor chapter
// of the App Container specification (spec/ace.md, with spec/pods.md and
// OS-SPEC.md) says an app MUST find, and for what this project promises
// beyond it. Every check prints one line
//
//	ok NAME
//	not ok NAME: why
//
// and is a subtest here; a check that prints nothing has failed. The words
// that both sides know are in the package expect.
//
// The checks run for every flavor. What a flavor does not do by design is in
// the table of exceptions.go, with the reason; an exception that is not needed
// any more fails the test.
package ace
