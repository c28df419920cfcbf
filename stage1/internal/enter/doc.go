// SPDX-License-Identifier: Apache-2.0

// Package enter is the enter entrypoint of the nspawn flavors: a command beside
// an app, held to exactly what the app is held to.
//
// The outer process, called by rkt on the host, knows the profile of the app (a
// file that the pod cannot reach) and its main process. It joins the app's
// cgroups and starts the inner process in the app's namespaces (package inside),
// which applies the profile (package confine) and becomes the command. Until
// then nothing of the image is executed.
package enter
