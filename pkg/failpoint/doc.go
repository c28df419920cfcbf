// SPDX-License-Identifier: Apache-2.0

// Package failpoint marks the durable steps of rkt so that tests can kill the
// process, or make it see an error, exactly there.
//
// In an ordinary build Hit is an empty inlined function. With the build tag
// "failpoint" it looks at the environment variable RKT_FAILPOINT:
//
//	RKT_FAILPOINT=NAME=kill        SIGKILL to the own process at NAME
//	RKT_FAILPOINT=NAME=kill@3      the third time NAME is reached
//	RKT_FAILPOINT=NAME=enospc      Hit returns ENOSPC
//	RKT_FAILPOINT=NAME=eio         Hit returns EIO
//	RKT_FAILPOINT_LOG=FILE         append every name reached to FILE, one a line
//
// Names are "area.step", lower case, unique in the tree: "fetch.blob-renamed".
// A failpoint stands directly after the step it is named for.
package failpoint
