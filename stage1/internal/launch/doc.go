// SPDX-License-Identifier: Apache-2.0

// Package launch starts one app inside a pod. The pod's systemd executes it as
// the main process of the app's unit, as root of the pod with the capabilities
// of the pod's supervisor; it becomes the app.
//
// Order: the profile is read; a mount namespace is made and filled (package
// approot); the supervisor is asked for the standard streams, which is also when
// it puts this process under the app's limits; the namespace's root becomes the
// app's; pre-start handlers run; package confine takes away what the app is not
// to have and executes it.
//
// Nothing of the app's runs before the root is pivoted, and nothing outside it
// is opened afterwards.
package launch
