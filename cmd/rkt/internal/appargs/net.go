// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Special network names.
const (
	NetDefault = "default"
	NetNone    = "none"
	NetHost    = "host"
	NetAll     = "all"
)

// NetFlag is --net: a list of NAME[:ARGS], each name once, host and none alone.
// The zero value is the default network.
type NetFlag struct {
	items []netItem
}

type netItem struct {
	name, args string
	hasArgs    bool
}

// Set adds the networks of one --net.
func (f *NetFlag) Set(s string) error {
	items := slices.Clone(f.items)
	for word := range strings.SplitSeq(s, ",") {
		item, err := parseNet(word)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(items, func(o netItem) bool { return o.name == item.name }) {
			return fmt.Errorf("found duplicate netname %q", item.name)
		}
		items = append(items, item)
	}
	for _, item := range items {
		if len(items) > 1 && (item.name == NetHost || item.name == NetNone) {
			return fmt.Errorf("the network %q goes with no other", item.name)
		}
	}
	f.items = items
	return nil
}

// parseNet splits at the first colon: the values of arguments may have more,
// like IPv6 addresses.
func parseNet(word string) (netItem, error) {
	name, args, hasArgs := strings.Cut(word, ":")
	switch {
	case name == "":
		return netItem{}, errors.New("netname must not be empty")
	case hasArgs && (name == NetAll || name == NetHost):
		return netItem{}, fmt.Errorf("arguments are not supported by special netname %q", name)
	}
	return netItem{name, args, hasArgs}, nil
}

// Has tells whether the list holds the network called name.
func (f *NetFlag) Has(name string) bool {
	if len(f.items) == 0 {
		return name == NetDefault
	}
	return slices.ContainsFunc(f.items, func(i netItem) bool { return i.name == name })
}

// String is the list as stage1 gets it.
func (f *NetFlag) String() string {
	if len(f.items) == 0 {
		return NetDefault
	}
	words := make([]string, len(f.items))
	for i, item := range f.items {
		words[i] = item.name
		if item.hasArgs {
			words[i] += ":" + item.args
		}
	}
	return strings.Join(words, ",")
}

// Type is what pflag shows as the kind of value.
func (f *NetFlag) Type() string { return "list" }
