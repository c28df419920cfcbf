// SPDX-License-Identifier: Apache-2.0

// Package discovery finds out from the name of an image where it can be
// downloaded, and where the keys that sign it are: appc's meta discovery.
//
// # Words
//
// A candidate is a prefix of the name that is tried as a web page: the whole
// name first, then the name without its last component, down to the host. The page is asked for
// with the query "ac-discovery=1". A tag is a <meta> of such a page with the
// name ac-discovery or ac-discovery-pubkeys, and a prefix and a template or
// URL as its content. An endpoint is what a template becomes: the URLs of an image and of its signature.
//
// # What holds
//
//   - The first candidate that has something ends the search; of its
//     endpoints those with https come first, otherwise in the order of the page.
//   - Pages are asked for over https. Plain http is tried only if that fails
//     and the caller allows it. A redirect never leads from https to http.
//   - Credentials go to the host of the first request only, over https.
//   - A page is a stream of tokens, not a document: it does not matter where
//     in it a tag stands, as long as that is not a comment, a script or other raw text.
//   - What a label's value contributes to a URL never changes its scheme or host, nor where its query begins.
//   - Everything from outside has a limit, in limits.go: bytes of a page, time,
//     redirects, candidates, tags.
//
// An image with the name of a host is found by its labels:
//
//	f := &discovery.Finder{UserAgent: "rkt/2"}
//	endpoints, err := f.Endpoints(ctx, discovery.App{Name: "example.com/app"})
//
// and its keys by
//
//	urls, err := f.Keys(ctx, "example.com/app")
//
// A Finder may be used by several goroutines at once.
package discovery
