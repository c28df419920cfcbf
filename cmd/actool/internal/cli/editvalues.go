// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// item is one element of a list such as NAME,key=value:NAME,key=value.
type item struct {
	name   string
	params []param
}

// param is key=value, or one bare value with an empty key.
type param struct{ key, value string }

// parseItems splits a list at colons and commas; values are literal.
func parseItems(s string) ([]item, error) {
	if s == "" {
		return nil, nil
	}
	var items []item
	for text := range strings.SplitSeq(s, ":") {
		name, rest, more := strings.Cut(text, ",")
		if name == "" {
			return nil, fmt.Errorf("name must be set in %q", text)
		}
		it := item{name: name}
		seen := map[string]bool{}
		for more {
			var p string
			p, rest, more = strings.Cut(rest, ",")
			key, value, ok := strings.Cut(p, "=")
			if !ok {
				key, value = "", p
			}
			if seen[key] {
				return nil, fmt.Errorf("%q given more than once in %q", key, text)
			}
			seen[key] = true
			it.params = append(it.params, param{key, value})
		}
		items = append(items, it)
	}
	return items, nil
}

func parseMounts(s string) ([]appc.MountPoint, error) {
	items, err := parseItems(s)
	if err != nil {
		return nil, fmt.Errorf("invalid mount point: %w", err)
	}
	var mounts []appc.MountPoint
	for _, it := range items {
		m := appc.MountPoint{Name: appc.Name(it.name)}
		for _, p := range it.params {
			switch p.key {
			case "path":
				m.Path = p.value
			case "readOnly":
				m.ReadOnly, err = strconv.ParseBool(p.value)
			default:
				err = fmt.Errorf("unknown mount point parameter %q", p.text())
			}
			if err != nil {
				return nil, fmt.Errorf("invalid mount point %q: %w", it.name, err)
			}
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// text is the parameter as it was typed.
func (p param) text() string {
	if p.key == "" {
		return p.value
	}
	return p.key
}

func parsePorts(s string) ([]appc.Port, error) {
	items, err := parseItems(s)
	if err != nil {
		return nil, fmt.Errorf("invalid port: %w", err)
	}
	var ports []appc.Port
	for _, it := range items {
		port := appc.Port{Name: appc.Name(it.name), Count: 1}
		for _, p := range it.params {
			if err := setPort(&port, p); err != nil {
				return nil, fmt.Errorf("invalid port %q: %w", it.name, err)
			}
		}
		ports = append(ports, port)
	}
	return ports, nil
}

func setPort(port *appc.Port, p param) error {
	var n uint64
	var err error
	switch p.key {
	case "protocol":
		port.Protocol = p.value
	case "port":
		n, err = strconv.ParseUint(p.value, 10, 16)
		port.Port = uint(n)
	case "count":
		n, err = strconv.ParseUint(p.value, 10, 32)
		port.Count = uint(n)
	case "socketActivated":
		port.SocketActivated, err = strconv.ParseBool(p.value)
	default:
		err = fmt.Errorf("unknown port parameter %q", p.text())
	}
	return err
}

func parseIsolators(s string) (appc.Isolators, error) {
	items, err := parseItems(s)
	if err != nil {
		return nil, fmt.Errorf("invalid isolator: %w", err)
	}
	var isolators appc.Isolators
	for _, it := range items {
		value, err := isolatorValue(it)
		if err != nil {
			return nil, err
		}
		isolator, err := appc.NewIsolator(appc.Identifier(it.name), value)
		if err != nil {
			return nil, err
		}
		isolators = append(isolators, isolator)
	}
	return isolators, nil
}

func isolatorValue(it item) (any, error) {
	switch it.name {
	case appc.ResourceCPU, appc.ResourceMemory:
		return resourceValue(it, false)
	case appc.ResourceBlockBandwidth, appc.ResourceBlockIOPS, appc.ResourceNetworkBandwidth:
		return resourceValue(it, true)
	case appc.LinuxNoNewPrivileges:
		bare, err := it.bare()
		if err != nil {
			return nil, err
		}
		return boolValue(it, bare)
	case appc.LinuxOOMScoreAdj:
		bare, err := it.bare()
		if err != nil {
			return nil, err
		}
		return intValue(it, bare)
	}
	return nil, fmt.Errorf("isolator %s is not supported for patching", it.name)
}

func boolValue(it item, s string) (any, error) {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return nil, fmt.Errorf("isolator %s: %w", it.name, err)
	}
	return v, nil
}

func intValue(it item, s string) (any, error) {
	v, err := strconv.Atoi(s)
	if err != nil {
		return nil, fmt.Errorf("isolator %s: %w", it.name, err)
	}
	return v, nil
}

// bare returns the only, bare value of an item.
func (it item) bare() (string, error) {
	if len(it.params) != 1 || it.params[0].key != "" {
		return "", fmt.Errorf("isolator %s takes one value: %s,VALUE", it.name, it.name)
	}
	return it.params[0].value, nil
}

// resourceValue makes the value of a resource isolator; isDefault is what the
// specification wants for its name.
func resourceValue(it item, isDefault bool) (any, error) {
	r := appc.Resource{Default: isDefault}
	for _, p := range it.params {
		q, err := appc.ParseQuantity(p.value)
		switch {
		case p.key != "request" && p.key != "limit":
			return nil, fmt.Errorf("isolator %s: unknown parameter %q", it.name, p.text())
		case err != nil:
			return nil, fmt.Errorf("isolator %s: %s: %w", it.name, p.key, err)
		case p.key == "request":
			r.Request = &q
		default:
			r.Limit = &q
		}
	}
	return r, nil
}

func parseSeccomp(mode, set string) (appc.Isolator, error) {
	mode, option, more := strings.Cut(mode, ",")
	value := appc.LinuxSeccomp{Set: strings.Split(set, ",")}
	if more {
		errno, ok := strings.CutPrefix(option, "errno=")
		if !ok {
			return appc.Isolator{}, fmt.Errorf("unknown seccomp option %q", option)
		}
		value.Errno = errno
	}
	switch mode {
	case "retain":
		return appc.NewIsolator(appc.LinuxSeccompRetainSet, value)
	case "remove":
		return appc.NewIsolator(appc.LinuxSeccompRemoveSet, value)
	}
	return appc.Isolator{}, fmt.Errorf("unknown seccomp mode %s", mode)
}
