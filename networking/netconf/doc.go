// SPDX-License-Identifier: Apache-2.0

// Package netconf knows which networks a pod gets: what --net asks for and what
// the configuration directories offer.
//
// Words: a request is the value of --net. A configuration is a file in a
// directory net.d that describes one network, either one plugin (.conf, .json)
// or a chain of plugins (.conflist). A set is what all directories hold; a
// network is a configuration that a request selected.
//
// Directories are given in rising priority. A network of a user's directory
// replaces one of the same name in a directory below; one of /etc/cni/net.d
// replaces none, and is selected by its name only.
//
// Every byte of a configuration is taken as untrusted. What rkt does not
// understand in it is left to the plugins, which get the exact bytes; what makes
// it unusable makes it broken. A broken configuration fails only the pod that
// asks for it by name.
//
// Invariants: a network of a set has a name and types that are safe as parts of
// file names, and ConfList made a list of it.
//
//	req, err := netconf.ParseRequest("default,net1:IP=10.1.2.3")
//	set := netconf.Load([]netconf.Dir{{"/etc/cni/net.d", netconf.CNI}, {builtin, netconf.Builtin}, {local, netconf.User}})
//	networks, err := set.Select(req)
//	for _, m := range set.MessagesAbout(networks) { … }
package netconf
