// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

// Network is a configuration that a request selected.
type Network struct {
	Name string
	Path string
	// Base is the name of the file.
	Base string
	// RecordName is the name for the pod's copy of the file, unique among the
	// networks of a pod.
	RecordName string
	// Bytes is exactly what the file holds.
	Bytes []byte
	Kind  Kind

	// Chain says that it is a list of plugins (.conflist).
	Chain bool
	// Types are those of the plugins, in their order.
	Types []string
	// CNIVersion is 0.1.0 if the file names none.
	CNIVersion string
	// IPAMType is that of the first plugin that has one.
	IPAMType string
	// IPMasq says that a plugin is to masquerade.
	IPMasq bool
	// Capabilities are those that any plugin declares.
	Capabilities map[string]bool

	// Args are for the plugins, from the request.
	Args string
}

// ConfList is the network in the form that libcni takes: keys that libcni reads
// are in its spelling, a single plugin is a list of one, the version is
// CNIVersion. For a network that Select returned there is no error.
func (n Network) ConfList() (*libcni.NetworkConfigList, error) {
	list, err := confList(n.Bytes, conf{name: n.Name, version: n.CNIVersion}, n.Chain)
	if err != nil {
		return nil, fmt.Errorf("network %q: %s: %w", n.Name, printable(n.Path), err)
	}
	return list, nil
}

// NotFoundError is returned by Select for names that no directory has.
type NotFoundError struct {
	Names []string
	// Broken are configurations that may have one of the names.
	Broken []Broken
}

func (e *NotFoundError) Error() string {
	names := make([]string, len(e.Names))
	for i, name := range e.Names {
		names[i] = printable(name)
	}
	text := "networks not found: " + strings.Join(names, ", ")
	if len(e.Broken) == 0 {
		return text
	}
	return text + " (" + listBroken(e.Broken) + ")"
}

// listBroken names the first few.
func listBroken(broken []Broken) string {
	const few = 3
	var list []string
	for _, b := range broken[:min(few, len(broken))] {
		list = append(list, fmt.Sprintf("%s: %v", printable(b.Path), b.Err))
	}
	if more := len(broken) - few; more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return "broken configurations: " + strings.Join(list, "; ")
}

// Select returns the networks of a request in the order of their interfaces:
// that of the names of their files, wherever these are. For host and none that
// are none. The error is a *NotFoundError, or tells why the configuration of a
// name is broken.
func (s *Set) Select(r Request) ([]Network, error) {
	if r.IsHost() || r.IsNone() {
		return nil, nil
	}
	names, err := s.resolve(r)
	if err != nil {
		return nil, err
	}
	networks := make([]Network, len(names))
	for i, name := range names {
		networks[i] = s.entries[name].network(r.Args(name))
	}
	slices.SortFunc(networks, func(a, b Network) int {
		return cmp.Or(strings.Compare(a.Base, b.Base), strings.Compare(a.Path, b.Path))
	})
	nameRecords(networks)
	return networks, nil
}

// resolve returns the names of the networks that a request selects.
func (s *Set) resolve(r Request) ([]string, error) {
	selected := map[string]bool{}
	if r.All() {
		for name, e := range s.entries {
			if e.dir.Kind != CNI && e.err == nil {
				selected[name] = true
			}
		}
	}
	var missing []string
	for _, name := range r.Names() {
		e, ok := s.entries[name]
		if !ok {
			missing = append(missing, name)
			continue
		}
		if e.err != nil {
			return nil, fmt.Errorf("network %q: %s: %w", name, printable(e.path()), e.err)
		}
		selected[name] = true
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, &NotFoundError{Names: missing, Broken: s.Broken}
	}
	return slices.Collect(maps.Keys(selected)), nil
}

func (e entry) network(args string) Network {
	return Network{
		Name: e.name, Path: e.path(), Base: e.base, Bytes: e.data, Kind: e.dir.Kind,
		Chain: e.isChain(), Types: e.types, CNIVersion: e.version, IPAMType: e.ipamType,
		IPMasq: e.ipMasq, Capabilities: e.capabilities, Args: args,
	}
}

// MessagesAbout are the texts of the messages about networks.
func (s *Set) MessagesAbout(networks []Network) []string {
	var texts []string
	for _, m := range s.Messages {
		if slices.ContainsFunc(networks, func(n Network) bool { return n.Name == m.Network }) {
			texts = append(texts, m.Text)
		}
	}
	return texts
}

// maxBase is how long the name of a file can be.
const maxBase = 255

// nameRecords gives each network its name for the copy of its file: that of the
// file, with the index of the network in front if others have the same.
func nameRecords(networks []Network) {
	count, taken := map[string]int{}, map[string]bool{}
	for _, n := range networks {
		count[n.Base]++
	}
	for i, n := range networks {
		if count[n.Base] == 1 {
			networks[i].RecordName, taken[n.Base] = n.Base, true
		}
	}
	for i, n := range networks {
		if count[n.Base] > 1 {
			name := prefixed(i, n.Base)
			for k := i; taken[name]; k += len(networks) {
				name = prefixed(k, n.Base)
			}
			networks[i].RecordName, taken[name] = name, true
		}
	}
}

// prefixed keeps the end of a name, which says what the file is.
func prefixed(i int, base string) string {
	prefix := strconv.Itoa(i) + "-"
	return prefix + base[max(0, len(prefix)+len(base)-maxBase):]
}

// printable is outside text as it is, or quoted if it would disturb a line.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` || s == "" {
		return q
	}
	return s
}
