// SPDX-License-Identifier: Apache-2.0

package front

import "github.com/rkt/rkt/v2/pkg/netns"

// skipDAD has interfaces that are going to be made in a network namespace take
// their IPv6 addresses without asking whether somebody else has them. On a
// wire with two ends whose addresses were given out by one IPAM nobody does,
// and upstream would wait more than a second for the answer.
func skipDAD(path string) error {
	return netns.In(path, func() error {
		return writeSysctl("/proc/sys/net/ipv6/conf/default/accept_dad", "0")
	})
}
