// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rkt/rkt/v2/networking/netconf"
	"github.com/rkt/rkt/v2/pkg/netns"
)

// acceptDAD is whether interfaces that come into a namespace look for
// duplicates of their IPv6 addresses before they use them.
const acceptDAD = "/proc/sys/net/ipv6/conf/default/accept_dad"

// setDAD has the interface of a network look for duplicates of its IPv6
// addresses, or not: that takes one to two seconds, in which plugins wait, and
// on links that rkt itself makes the IPAM plugin is the only one to give out
// addresses.
func (d *driver) setDAD(n *netconf.Network) error {
	value := "1"
	if n.Types[0] == "ptp" || n.Types[0] == "bridge" {
		value = "0"
	}
	err := netns.In(d.netns, func() error { return os.WriteFile(acceptDAD, []byte(value), 0) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
		return fmt.Errorf("duplicate address detection in the pod: %w", err)
	}
	return nil
}
