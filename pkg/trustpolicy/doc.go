// SPDX-License-Identifier: Apache-2.0

// Package trustpolicy reads the rules that say which images of registries are
// accepted, and finds those that count for an image.
//
// # Words
//
// A rule has a scope and a requirement. The scope is docker://HOST[/REPOSITORY],
// compared by path component, oci:PATH, oci-archive:PATH or docker-archive:PATH
// for local files likewise, a prefix of appc names, or * for everything.
// The requirement is one of reject, insecureAcceptAnything, sigstore (a signature by a
// public key, as cosign makes them), digest (pinned) and pgp (the keystore decides).
//
// # Files
//
//	<level>/trust.d/<name>.json
//
// The levels are the configuration directories of the system and the local one;
// a local file replaces the system's of the same name, and an empty one takes
// it away. Files count in the order of their names.
//
// # What holds
//
//   - Rules are asked in order. reject ends the search, the others accept or leave
//     it to the rules that follow. What no rule accepts is refused.
//
//   - A file that cannot be used, or has something unknown in it, is an error: a rule that was
//     misspelled must not be ignored.
//
//   - Requirements that an appc image cannot meet are refused where the file is read.
//
//     rules, err := store.Load()
//     for _, r := range rules.ForDocker("example.com", "team/app") { … }
package trustpolicy
