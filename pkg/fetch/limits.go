// SPDX-License-Identifier: Apache-2.0

package fetch

import "time"

// Caps of everything that comes from outside; those of manifests and configs
// are in package ociconv, those of archives' content in package layer.
const (
	maxRedirects   = 10
	maxArchive     = 256 << 30 // bytes of one .aci or of an unpacked archive of an image
	maxToken       = 1 << 20   // bytes of the answer of a token server
	maxErrorBody   = 4 << 10   // of an HTTP error that is quoted
	maxIndexDepth  = 4         // indexes that name indexes
	maxLayoutFile  = 4 << 10   // of the file oci-layout
	maxDraftRefs   = 1000      // images of a layout without index.json
	maxTarEntries  = 100_000   // of an archive of an image
	maxLinkDepth   = 8         // links to links in such an archive
	maxLegacyChain = 1000      // layers of an image of docker before 1.10
	maxAuthFile    = 4 << 20
	maxHelperReply = 1 << 20
	maxCertFile    = 1 << 20
	maxDependency  = 1000    // images of one dependency graph
	maxReferrers   = 32      // signature manifests that refer to an image
	maxLocation    = 8 << 10 // of the address that an upload goes to
	maxPayloads    = 100     // signed payloads of an image

	helperTimeout = 30 * time.Second
	copyBuffer    = 64 << 10

	attempts      = 5 // of one request, or of one stretch of a download
	firstBackOff  = 200 * time.Millisecond
	maxBackOff    = 30 * time.Second
	maxRetryAfter = 2 * time.Minute

	stallLimit = 2 * time.Minute // of waiting for a server
	minSpeed   = 512             // bytes a second, on average over that time

	defaultConcurrent = 3
)
