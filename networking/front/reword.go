// SPDX-License-Identifier: Apache-2.0

package front

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// What host-local says, also through the plugin that executed it.
var (
	upstreamTaken     = regexp.MustCompile(`^failed to allocate for range \d+: requested IP address (\S+) is not available in range set `)
	upstreamExhausted = regexp.MustCompile(`^failed to allocate for range \d+: no IP addresses available in range set: `)
	upstreamGateway   = regexp.MustCompile(`^failed to allocate for range \d+: requested ip \S+ is subnet's gateway$`)
	upstreamOutside   = regexp.MustCompile(`^failed to allocate all requested IPs: (\S+)`)
)

// reword gives an error of an upstream plugin the words of rkt 1.30.
func reword(err error, conf object) error {
	var said *types.Error
	if !isOnly(err, &said) {
		return err
	}
	e := *said
	if m := upstreamTaken.FindStringSubmatch(e.Msg); m != nil {
		e.Msg = fmt.Sprintf("requested IP address %q is not available in network: %s", m[1], conf.text("name"))
	} else if upstreamExhausted.MatchString(e.Msg) {
		e.Msg = "no IP addresses available in network: " + conf.text("name")
	} else if upstreamGateway.MatchString(e.Msg) {
		e.Msg = "requested IP must differ gateway IP"
	} else if m := upstreamOutside.FindStringSubmatch(e.Msg); m != nil {
		e.Msg = fmt.Sprintf("%s not in network: %s", m[1], conf.subnetList())
	} else {
		return err
	}
	return &e
}

// isOnly tells whether err is what a plugin said and nothing else.
func isOnly(err error, said **types.Error) bool {
	return errors.As(err, said) && (*said).Error() == err.Error()
}

func (o object) subnetList() string {
	var subnets []string
	for _, r := range o.subnets() {
		subnets = append(subnets, r.subnet.Masked().String())
	}
	return strings.Join(subnets, ", ")
}
