// SPDX-License-Identifier: Apache-2.0

package front

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// object is a JSON object whose values are kept as they are.
type object map[string]json.RawMessage

// parseConf reads a network configuration and spells its keys as upstream does.
func parseConf(conf []byte) (object, error) {
	if !json.Valid(conf) {
		return nil, errors.New("network configuration is not valid JSON")
	}
	o, ok := parseObject(confKeys().spell(conf))
	if !ok {
		return nil, errors.New("network configuration is not a JSON object")
	}
	return o, nil
}

// members are those of an object in their order; ok is false for another value.
// The value has to be valid.
func members(value json.RawMessage) (list []member, ok bool) {
	d := json.NewDecoder(bytes.NewReader(value))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		t, err := d.Token()
		key, isText := t.(string)
		if err != nil || !isText {
			return nil, false
		}
		m := member{key: key}
		if err := d.Decode(&m.value); err != nil {
			return nil, false
		}
		list = append(list, m)
	}
	return list, true
}

type member struct {
	key   string
	value json.RawMessage
}

func parseObject(value json.RawMessage) (object, bool) {
	list, ok := members(value)
	if !ok {
		return nil, false
	}
	o := object{}
	for _, m := range list {
		o[m.key] = m.value
	}
	return o, true
}

// text is the value of a key that is a string, "" for another value.
func (o object) text(key string) string { return text(o[key]) }

func (o object) isTrue(key string) bool { return string(o[key]) == "true" }

func (o object) has(key string) bool {
	value, ok := o[key]
	return ok && string(value) != "null"
}

// ipam is the configuration of the IPAM plugin, empty if there is none.
func (o object) ipam() object {
	value, _ := parseObject(o["ipam"])
	return value
}

// list is the value of a key that is an array, nil for another value.
func (o object) list(key string) []json.RawMessage { return list(o[key]) }

// edit replaces the value of a key that is there; nil removes it.
func (o object) edit(key string, change func(json.RawMessage) json.RawMessage) {
	value, ok := o[key]
	if !ok {
		return
	}
	if o[key] = change(value); o[key] == nil {
		delete(o, key)
	}
}

// inObject makes a change of an object one of any value.
func inObject(change func(object)) func(json.RawMessage) json.RawMessage {
	return func(value json.RawMessage) json.RawMessage {
		o, ok := parseObject(value)
		if !ok {
			return value
		}
		change(o)
		return encode(o)
	}
}

// inList makes a change of elements one of any value; elements changed to nil
// are removed.
func inList(change func(json.RawMessage) json.RawMessage) func(json.RawMessage) json.RawMessage {
	return func(value json.RawMessage) json.RawMessage {
		elements := list(value)
		if elements == nil {
			return value
		}
		kept := []json.RawMessage{}
		for _, e := range elements {
			if e = change(e); e != nil {
				kept = append(kept, e)
			}
		}
		return encode(kept)
	}
}

func list(value json.RawMessage) []json.RawMessage {
	var l []json.RawMessage
	if json.Unmarshal(value, &l) != nil {
		return nil
	}
	return l
}

func text(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// encode writes values that were read, and texts; that cannot fail.
func encode(value any) json.RawMessage {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("front: %T cannot be written: %v", value, err))
	}
	return raw
}

// prefix reads an address with or without length.
func prefix(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a.WithZone(""), a.BitLen()), true
}

func isIPv6(s string) bool {
	p, ok := prefix(s)
	return ok && p.Addr().Is6() && !p.Addr().Is4In6()
}

// spelling has keys as upstream spells them, each with those below it.
type spelling map[string]spelling

// spell corrects the case of the keys of an object, or of those in an array.
// As for encoding/json, the last of those that differ in case only counts.
func (s spelling) spell(value json.RawMessage) json.RawMessage {
	if s == nil {
		return value
	}
	if list(value) != nil {
		return inList(s.spell)(value)
	}
	all, ok := members(value)
	if !ok {
		return value
	}
	o := object{}
	for _, m := range all {
		key := s.key(m.key)
		o[key] = s[key].spell(m.value)
	}
	return encode(o)
}

func (s spelling) key(key string) string {
	if _, ok := s[key]; ok {
		return key
	}
	for known := range s {
		if strings.EqualFold(known, key) {
			return known
		}
	}
	return key
}

// keys are keys that have nothing known below.
func keys(names ...string) spelling {
	s := spelling{}
	for _, name := range names {
		s[name] = nil
	}
	return s
}

func (s spelling) with(key string, below spelling) spelling {
	s[key] = below
	return s
}

// confKeys are the keys that the shipped plugins know. None of them differs
// from another only in case.
func confKeys() spelling {
	main := mainKeys()
	return mainKeys().with("delegate", main)
}

func mainKeys() spelling {
	ranges := func() []string { return []string{"subnet", "rangeStart", "rangeEnd", "gateway"} }
	dns := keys("nameservers", "domain", "search", "options")
	ipam := keys(slices.Concat([]string{"type", "dataDir", "resolvConf", "daemonSocketPath", "priority"}, ranges())...).
		with("ranges", keys(ranges()...)).
		with("routes", keys("dst", "gw", "mtu", "advmss", "priority", "table", "scope")).
		with("addresses", keys("address", "gateway")).
		with("dns", dns).
		with("provide", keys("option", "value", "fromArg")).
		with("request", keys("skipDefault", "option"))
	return keys(
		"cniVersion", "name", "type", "args", "capabilities", "prevResult", "ipv6",
		"ipMasq", "ipMasqBackend", "mtu", "master", "mode", "mac", "linkInContainer", "bcqueuelen",
		"bridge", "isGateway", "isDefaultGateway", "forceAddress", "hairpinMode", "promiscMode", "vlan",
		"preserveDefaultVlan", "macspoofchk", "enabledad", "disableContainerInterface", "portIsolation",
		"dataDir", "sysctl", "promisc", "txQLen", "allmulti", "subnetFile",
		"ingressRate", "ingressBurst", "egressRate", "egressBurst",
		"backend", "iptablesAdminChainName", "firewalldZone", "ingressPolicy",
		"snat", "conditionsV4", "conditionsV6", "masqAll", "markMasqBit", "externalSetMarkChain",
	).
		with("ipam", ipam).with("dns", dns).
		with("vlanTrunk", keys("minID", "maxID", "id")).
		with("runtimeConfig", keys("ipRanges", "ips", "mac", "bandwidth", "portMappings", "dns"))
}
