// SPDX-License-Identifier: Apache-2.0

// Package networking sets up, checks and tears down the networks of a pod
// through CNI plugins, and keeps the records that later commands go by. The
// working directory of whoever uses it is the pod directory, because the search
// path of plugins has a part that is relative to it.
//
//	netconf   which networks a pod gets
//	front     what stands between CNI and the plugins in stage1
//	firewall  masquerading and forwarded ports
//	hostport  host ports that the supervisor holds
//	call      how the supervisor has the work done
//
// What is on disk: in the pod directory netns, net/, net-info.json and
// net-state.json; in DATA/net one file for each pod that has networks, and
// libcni's results. A file in DATA/net/pods without a pod tells gc what to
// sweep.
//
// Source: spec networking.md, ADR 15.
package networking
