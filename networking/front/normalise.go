// SPDX-License-Identifier: Apache-2.0

package front

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
)

// facts are what a normal configuration depends on beside itself.
type facts struct {
	// plugin is the name of the program; what calls it may leave another in type.
	plugin string
	// ipv6 tells that the host has IPv6.
	ipv6 bool
	// masquerade tells that the rules of ipMasq are made by us.
	masquerade bool
}

// oldest is the version of configurations that do not say theirs.
const oldest = "0.1.0"

// normalise returns the configuration as upstream wants it. What is normal
// stays as it is.
func (o object) normalise(about facts) object {
	o = maps.Clone(o)
	o.dropOddArgs()
	o.addVersion()
	o.maskSubnets()
	o.chooseIPv6(about.ipv6)
	if o.isOurMasquerade(about) {
		delete(o, "ipMasq")
	}
	if about.plugin == "bridge" {
		o.dropDefaultRoute()
	}
	return o
}

// dropOddArgs drops args that are no object: they are not those of CNI.
func (o object) dropOddArgs() {
	if _, ok := parseObject(o["args"]); !ok {
		delete(o, "args")
	}
}

func (o object) addVersion() {
	if !o.has("cniVersion") || string(o["cniVersion"]) == `""` {
		o["cniVersion"] = encode(oldest)
	}
}

// maskSubnets clears host bits in the subnets of host-local.
func (o object) maskSubnets() {
	mask := func(o object) { o.edit("subnet", masked) }
	o.edit("ipam", inObject(func(ipam object) {
		mask(ipam)
		ipam.edit("ranges", inList(inList(inObject(mask))))
	}))
}

func masked(value json.RawMessage) json.RawMessage {
	p, err := netip.ParsePrefix(text(value))
	if err != nil || p == p.Masked() {
		return value
	}
	return encode(p.Masked().String())
}

// chooseIPv6 carries out our key "ipv6": with "auto", what is IPv6 is left out
// on a host that has none.
func (o object) chooseIPv6(host bool) {
	if auto := o.text("ipv6") == "auto"; !auto {
		return
	}
	delete(o, "ipv6")
	if host {
		return
	}
	without := func(key string) func(json.RawMessage) json.RawMessage {
		return inList(func(e json.RawMessage) json.RawMessage {
			if entry, _ := parseObject(e); isIPv6(entry.text(key)) {
				return nil
			}
			return e
		})
	}
	o.edit("ipam", inObject(func(ipam object) {
		if isIPv6(ipam.text("subnet")) {
			for _, key := range []string{"subnet", "gateway", "rangeStart", "rangeEnd"} {
				delete(ipam, key)
			}
		}
		ipam.edit("ranges", inList(func(set json.RawMessage) json.RawMessage {
			left := without("subnet")(set)
			if len(list(set)) > 0 && len(list(left)) == 0 {
				return nil
			}
			return left
		}))
		ipam.edit("routes", without("dst"))
		ipam.edit("addresses", without("address"))
	}))
}

// isOurMasquerade tells whether ptp or bridge is to masquerade and leaves the
// way to us.
func (o object) isOurMasquerade(about facts) bool {
	return about.masquerade && (about.plugin == "ptp" || about.plugin == "bridge") && o.isTrue("ipMasq") && !o.has("ipMasqBackend")
}

// dropDefaultRoute drops the default routes of a bridge's IPAM that
// isDefaultGateway makes as well: upstream would make them twice and fail.
func (o object) dropDefaultRoute() {
	if !o.isTrue("isDefaultGateway") {
		return
	}
	o.edit("ipam", inObject(func(ipam object) {
		ipam.edit("routes", inList(func(e json.RawMessage) json.RawMessage {
			if r, _ := parseObject(e); isDefault(r.text("dst")) && r.text("gw") == "" {
				return nil
			}
			return e
		}))
	}))
}

func isDefault(dst string) bool {
	p, err := netip.ParsePrefix(dst)
	return err == nil && p.Bits() == 0
}

func (o object) ipamType() string { return o.ipam().text("type") }

// subnets are those of host-local, in the order of its ranges.
func (o object) subnets() []rangeOf {
	var subnets []rangeOf
	add := func(r object) {
		if p, err := netip.ParsePrefix(r.text("subnet")); err == nil {
			subnets = append(subnets, rangeOf{subnet: p, gateway: r.text("gateway")})
		}
	}
	ipam := o.ipam()
	add(ipam)
	for _, set := range ipam.list("ranges") {
		for _, raw := range list(set) {
			r, _ := parseObject(raw)
			add(r)
		}
	}
	return subnets
}

// rangeOf is a subnet that addresses are taken from.
type rangeOf struct {
	subnet  netip.Prefix
	gateway string
}

// router is the gateway: the first address if nothing else is said.
func (r rangeOf) router() netip.Addr {
	if a, err := netip.ParseAddr(r.gateway); err == nil {
		return a
	}
	return r.subnet.Masked().Addr().Next()
}

func (o object) hasIPv6() bool {
	for _, r := range o.subnets() {
		if isIPv6(r.subnet.String()) {
			return true
		}
	}
	for _, raw := range o.ipam().list("addresses") {
		if a, _ := parseObject(raw); isIPv6(a.text("address")) {
			return true
		}
	}
	return false
}

// routed tells whether the plugin makes the host a router.
func (o object) routed(name string) bool {
	return name == "ptp" || name == "bridge" && (o.isTrue("isGateway") || o.isTrue("isDefaultGateway"))
}

// check refuses configurations of which upstream would make something that was
// not asked for.
func (o object) check(name string) error {
	switch name {
	case "macvlan", "ipvlan":
		if o.text("master") == "" && !o.has("prevResult") {
			return errors.New(`"master" field is required. It specifies the host interface name to virtualize`)
		}
	case "bridge":
		return o.checkDefaultGateway()
	}
	return nil
}

// checkDefaultGateway refuses two different default gateways of one pod.
func (o object) checkDefaultGateway() error {
	if !o.isTrue("isDefaultGateway") {
		return nil
	}
	for _, raw := range o.ipam().list("routes") {
		r, _ := parseObject(raw)
		gw, err := netip.ParseAddr(r.text("gw"))
		if err != nil || !isDefault(r.text("dst")) {
			continue
		}
		for _, from := range o.subnets() {
			if from.subnet.Addr().Is4() == gw.Is4() && from.router() != gw {
				return fmt.Errorf("isDefaultGateway makes %s the default gateway, but a route of ipam names %s", from.router(), gw)
			}
		}
	}
	return nil
}

// withPrevResult gives tuning, alone on a network, the empty result that it
// insists on.
func withPrevResult(name, command string, o object) object {
	if name != "tuning" || o.has("prevResult") || command != "ADD" && command != "CHECK" {
		return o
	}
	o = maps.Clone(o)
	o["prevResult"] = encode(map[string]any{"cniVersion": o["cniVersion"], "dns": types.DNS{}})
	return o
}
