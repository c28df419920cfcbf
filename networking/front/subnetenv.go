// SPDX-License-Identifier: Apache-2.0

package front

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// subnetEnv is what flanneld says about the host's part of its network.
type subnetEnv struct {
	networks []netip.Prefix
	subnet   netip.Prefix
	// mtu is 0 if nothing is said.
	mtu int
	// masqueraded tells that flanneld masquerades.
	masqueraded bool
}

const maxMTU = 65535

// parseSubnetEnv reads lines of NAME=VALUE; other names than flannel's own
// are skipped.
func parseSubnetEnv(content []byte) (subnetEnv, error) {
	var s subnetEnv
	for line := range strings.Lines(string(content)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if err := s.set(name, value); err != nil {
			return subnetEnv{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(s.networks) == 0 {
		return subnetEnv{}, errors.New("no FLANNEL_NETWORK")
	}
	if !s.subnet.IsValid() {
		return subnetEnv{}, errors.New("no FLANNEL_SUBNET")
	}
	return s, nil
}

func (s *subnetEnv) set(name, value string) (err error) {
	switch name {
	case "FLANNEL_NETWORK": // several, since flannel has more than one
		s.networks = nil
		for part := range strings.SplitSeq(value, ",") {
			n, err := netip.ParsePrefix(part)
			if err != nil {
				return err
			}
			s.networks = append(s.networks, n.Masked())
		}
	case "FLANNEL_SUBNET":
		s.subnet, err = netip.ParsePrefix(value)
	case "FLANNEL_MTU":
		if s.mtu, err = strconv.Atoi(value); err == nil && (s.mtu < 0 || s.mtu > maxMTU) {
			err = fmt.Errorf("%d is no MTU", s.mtu)
		}
	case "FLANNEL_IPMASQ":
		s.masqueraded, err = strconv.ParseBool(value)
	}
	return err
}
