// SPDX-License-Identifier: Apache-2.0

package front

import (
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// What the shipped plugins know of CNI_ARGS: bridge, macvlan and tuning MAC,
// host-local IP, static IP and GATEWAY.
type localArgs struct {
	types.CommonArgs
	IP, MAC types.UnmarshallableString
}

type staticArgs struct {
	localArgs
	GATEWAY types.UnmarshallableString
}

const ignoreUnknown = "IgnoreUnknown=1"

// argsOf says whose CNI_ARGS they are.
type argsOf struct {
	plugin, ipam, command string
	// ours tells that the IPAM plugin is shipped, or that there is none.
	ours bool
}

// mainArgs returns the CNI_ARGS for an upstream plugin. Those that read them
// refuse what is meant for their IPAM plugin, so they are told to ignore what
// they do not know. The IPAM plugin then hears that too, and what it would
// have refused is refused here. A DEL is never refused: what cannot be read is
// left out.
func mainArgs(of argsOf, args string) (string, error) {
	if args == "" || !of.adapted() {
		return args, nil
	}
	if err := of.read(args); err != nil {
		if of.command != "DEL" {
			return "", err
		}
		args = pairs(args)
	}
	return strings.TrimPrefix(args+";"+ignoreUnknown, ";"), nil
}

// adapted tells whether the plugin takes part in reading CNI_ARGS, itself or
// by a shipped IPAM plugin.
func (a argsOf) adapted() bool {
	switch a.plugin {
	case "bridge", "macvlan", "tuning":
		return true
	case "ipvlan", "ptp":
		return a.ours
	}
	return false
}

// read refuses what host-local and static refuse; another IPAM plugin has its
// own opinion.
func (a argsOf) read(args string) error {
	switch {
	case !a.ours || a.ipam == "dhcp":
		return nil
	case a.ipam == "static":
		return types.LoadArgs(args, &staticArgs{})
	}
	return types.LoadArgs(args, &localArgs{})
}

// pairs leaves out of args what is no pair, and what does not matter when
// something is deleted.
func pairs(args string) string {
	var kept []string
	for _, pair := range strings.Split(args, ";") {
		key, _, _ := strings.Cut(pair, "=")
		if strings.Count(pair, "=") == 1 && key != "IP" && key != "IgnoreUnknown" {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, ";")
}
