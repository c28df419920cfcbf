// SPDX-License-Identifier: Apache-2.0

// Package caps names Linux capabilities and holds sets of them
// (capabilities(7)). A Set is plain data; only Bound changes the calling thread.
//
// Names are upper case with the CAP_ prefix, as manifests spell them. An
// unknown name is an error, never a capability that is silently not there.
package caps
