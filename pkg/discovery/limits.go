// SPDX-License-Identifier: Apache-2.0

package discovery

import "time"

// Caps of everything that comes from outside.
const (
	maxPage       = 1 << 20  // bytes of a page that are looked at
	maxHeader     = 64 << 10 // bytes of the header of an answer
	maxRedirects  = 10
	maxCandidates = 32      // components of a name
	maxTags       = 1000    // of one page
	maxTag        = 4096    // bytes of the content of a tag
	maxURL        = 8 << 10 // bytes of what a template becomes
	maxResults    = 64      // endpoints or keys of one page
	maxQuoted     = 200     // bytes of a text from outside that are quoted

	dialTimeout    = 20 * time.Second
	tlsTimeout     = 10 * time.Second
	requestTimeout = 30 * time.Second // for one page, redirects included
	searchTimeout  = 3 * time.Minute
)
