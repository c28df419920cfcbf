// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Names that a request gives a meaning of their own. The built-in networks are
// found by name like any other.
const (
	nameHost = "host"
	nameNone = "none"
	nameAll  = "all"

	// Default and DefaultRestricted are the built-in networks.
	Default           = "default"
	DefaultRestricted = "default-restricted"
)

// Request says which networks a pod shall get. The zero value asks for none and
// is not what IsNone means: use ParseRequest.
type Request struct{ items []item }

type item struct{ name, args string }

// ParseRequest reads NAME[:ARGS]{,NAME[:ARGS]}. ARGS begin behind the first
// colon, so that they may hold an IPv6 address; they are kept as they are.
func ParseRequest(list string) (Request, error) {
	var r Request
	for s := range strings.SplitSeq(list, ",") {
		name, args, _ := strings.Cut(s, ":")
		if err := r.add(item{name, args}); err != nil {
			return Request{}, err
		}
	}
	for _, name := range []string{nameHost, nameNone} {
		if r.has(name) && len(r.items) > 1 {
			return Request{}, fmt.Errorf("the network %q goes with no other", name)
		}
	}
	return r, nil
}

func (r *Request) add(it item) error {
	switch {
	case it.name == "":
		return errors.New("netname must not be empty")
	case r.has(it.name):
		return fmt.Errorf("found duplicate netname %q", it.name)
	case isSpecial(it.name) && it.args != "":
		return fmt.Errorf("arguments are not supported by special netname %q", it.name)
	case strings.ContainsRune(it.args, 0):
		return fmt.Errorf("network %q provided with invalid arguments: %q", it.name, it.args)
	}
	r.items = append(r.items, it)
	return nil
}

func isSpecial(name string) bool { return name == nameHost || name == nameNone || name == nameAll }

func (r Request) find(name string) int {
	return slices.IndexFunc(r.items, func(it item) bool { return it.name == name })
}

func (r Request) has(name string) bool { return r.find(name) >= 0 }

// IsHost says whether the pod shares the namespace of its caller.
func (r Request) IsHost() bool { return r.has(nameHost) }

// IsNone says whether the pod gets a namespace with loopback only.
func (r Request) IsNone() bool { return r.has(nameNone) }

// All says whether the pod gets every network of the built-in and the user's
// directories. Names may give further ones, and arguments.
func (r Request) All() bool { return r.has(nameAll) }

// Names are the networks that are asked for by name, in the order given.
func (r Request) Names() []string {
	var names []string
	for _, it := range r.items {
		if !isSpecial(it.name) {
			names = append(names, it.name)
		}
	}
	return names
}

// Args are the arguments for the plugins of a network, empty if there are none.
func (r Request) Args(name string) string {
	if i := r.find(name); i >= 0 {
		return r.items[i].args
	}
	return ""
}

// String is what ParseRequest reads.
func (r Request) String() string {
	list := make([]string, len(r.items))
	for i, it := range r.items {
		list[i] = it.name
		if it.args != "" {
			list[i] += ":" + it.args
		}
	}
	return strings.Join(list, ",")
}
