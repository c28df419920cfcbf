// SPDX-License-Identifier: Apache-2.0

// Package fetch finds images in the store or brings them into it, from files,
// web servers, registries and archives.
//
// # Words
//
// A distribution point says where an image comes from (package distribution).
// The pull policy says when the store is enough. A remote is what the store
// remembers of a fetch from a URL. A partial download is what was received of a transfer that broke.
//
// # What holds
//
//   - Nothing is downloaded, and no file is read, for an image that will be
//     refused for want of a signature.
//   - An archive is hashed for its signature while it is imported; the store asks for the
//     verdict before it keeps anything.
//   - Everything from a registry is checked against the digest and size that named it;
//     layers are checked by the store while they stream.
//   - Credentials go to the host they are configured for and to its token server, over
//     https only, and never follow a redirect to another host.
//   - Plain http is used for registries if the user allows it, and, as docker and podman do, for
//     registries on a loopback address that do not answer https. URLs that say http
//     are http.
//   - A server that stalls is given up after two minutes, like a broken connection; a transfer
//     that goes on has no limit.
//   - Memory does not grow with the image: manifests and configs are capped,
//     layers and archives are streamed.
//   - Messages without --debug hold no run of 36 hexadecimal digits or dashes, which
//     rkt's callers would take for an image ID or UUID.
//
// # Locks
//
// The download of a URL holds the lock of its partial file in the store's
// temporary directory. It is taken before any lock of the store.
//
//	f := &fetch.Fetcher{Store: store, Auth: cfg, Stderr: os.Stderr}
//	id, err := f.Fetch(ctx, "docker://busybox", fetch.ImageOptions{Policy: fetch.Update})
package fetch
