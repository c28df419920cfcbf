// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"os"
	"strings"
)

// RouteLocalnet lets connections from 127.0.0.1 leave over the device and
// their answers come back, which forwards need to be reached by that address.
func RouteLocalnet(dev string) error {
	if dev == "" || dev == "." || dev == ".." || strings.ContainsAny(dev, "/\x00") {
		return fmt.Errorf("set route_localnet: %q is no name of a device", dev)
	}
	path := "/proc/sys/net/ipv4/conf/" + dev + "/route_localnet"
	if err := os.WriteFile(path, []byte("1"), 0); err != nil {
		return fmt.Errorf("set route_localnet of %s: %w", dev, err)
	}
	return nil
}
