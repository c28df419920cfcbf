// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

// Modes of resolv.conf and hosts, as stage1 gets them.
const (
	ModeDefault = "default"
	ModeHost    = "host"
	ModeNone    = "none"
	ModeStage0  = "stage0"
)

// DNSFlags are the values of --dns and its relatives as they were given.
type DNSFlags struct {
	Servers      ListFlag  // --dns
	Search       WordsFlag // --dns-search
	Options      WordsFlag // --dns-opt
	Domain       string    // --dns-domain
	HostsEntries ListFlag  // --hosts-entry
}

// DNS is what they mean.
type DNS struct {
	ResolvMode string // default, host, none or stage0
	// With ModeStage0:
	Servers []string
	Search  []string
	Options []string
	Domain  string

	HostsMode string // default, host or stage0
	// With ModeStage0, in order of first use:
	Hosts []HostsEntry
}

// HostsEntry is a line of a hosts file.
type HostsEntry struct {
	IP    string
	Names []string
}

// DNS validates the flags.
func (f *DNSFlags) DNS() (DNS, error) {
	d := DNS{ResolvMode: ModeDefault, HostsMode: ModeDefault}
	if err := f.resolv(&d); err != nil {
		return DNS{}, err
	}
	if err := f.hosts(&d); err != nil {
		return DNS{}, err
	}
	return d, nil
}

func (f *DNSFlags) resolv(d *DNS) error {
	more := len(f.Search) > 0 || len(f.Options) > 0 || f.Domain != ""
	for _, mode := range []string{ModeHost, ModeNone} {
		if !slices.Contains(f.Servers, mode) {
			continue
		}
		if len(f.Servers) > 1 {
			return fmt.Errorf("no other --dns options allowed when --dns=%s is passed", mode)
		}
		if more {
			return fmt.Errorf("Cannot call --dns-opt, --dns-search, or --dns-domain with --dns=%s", mode) //nolint:staticcheck // a literal scripts match on
		}
		d.ResolvMode = mode
		return nil
	}
	for _, s := range f.Servers {
		ip, err := netip.ParseAddr(s)
		if err != nil || strings.ContainsFunc(ip.Zone(), notInHostName) {
			return fmt.Errorf("Invalid IP passed to --dns: %s", s) //nolint:staticcheck // a literal scripts match on
		}
		d.Servers = append(d.Servers, ip.String())
	}
	for _, words := range [][]string{f.Search, f.Options, {f.Domain}} {
		for _, w := range words {
			if strings.ContainsFunc(w, unicode.IsControl) {
				return fmt.Errorf("control character in %q", w)
			}
		}
	}
	if more || len(d.Servers) > 0 {
		d.ResolvMode = ModeStage0
		d.Search, d.Options, d.Domain = f.Search, f.Options, f.Domain
	}
	return nil
}

func (f *DNSFlags) hosts(d *DNS) error {
	isHost := func(entry string) bool { return entry == ModeHost }
	if slices.ContainsFunc(f.HostsEntries, isHost) {
		if slices.ContainsFunc(f.HostsEntries, func(entry string) bool { return !isHost(entry) }) {
			return errors.New("cannot pass --hosts-entry=host with multiple hosts-entries")
		}
		d.HostsMode = ModeHost
		return nil
	}
	for _, entry := range f.HostsEntries {
		addr, name, ok := strings.Cut(entry, "=")
		if !ok || name == "" || strings.ContainsFunc(name, notInHostName) {
			return fmt.Errorf("Did not understand --hosts-entry %s", entry) //nolint:staticcheck // a literal scripts match on
		}
		ip, err := netip.ParseAddr(addr)
		if err != nil || strings.ContainsFunc(ip.Zone(), notInHostName) {
			return fmt.Errorf("Invalid IP passed to --hosts-entry: %s", addr) //nolint:staticcheck // a literal scripts match on
		}
		d.addHost(ip.String(), name)
	}
	return nil
}

func (d *DNS) addHost(ip, name string) {
	d.HostsMode = ModeStage0
	for i := range d.Hosts {
		if d.Hosts[i].IP == ip {
			d.Hosts[i].Names = append(d.Hosts[i].Names, name)
			return
		}
	}
	d.Hosts = append(d.Hosts, HostsEntry{IP: ip, Names: []string{name}})
}

// notInHostName is what would break a line of a hosts file.
func notInHostName(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '#' }

// maxHostname is the kernel's limit for a host name (sethostname(2)).
const maxHostname = 64

// CheckHostname validates --hostname. Names are not restricted to the letters
// of DNS: underscores are in use.
func CheckHostname(s string) error {
	if len(s) > maxHostname {
		return fmt.Errorf("host name %q has more than %d bytes", s, maxHostname)
	}
	if strings.ContainsFunc(s, notInHostName) || strings.Contains(s, "/") {
		return fmt.Errorf("invalid host name %q", s)
	}
	return nil
}

// CheckIPC validates --ipc; "" is not given.
func CheckIPC(mode string) error {
	switch mode {
	case "", "auto", "private", "parent":
		return nil
	}
	return fmt.Errorf("unknown value for --ipc parameter: %s", mode)
}

// ListFlag is a flag that accumulates words, comma separated or repeated.
type ListFlag []string

// Set adds the words of s.
func (f *ListFlag) Set(s string) error {
	if s == "" {
		return errors.New("must not be empty")
	}
	*f = append(*f, strings.Split(s, ",")...)
	return nil
}

// String joins the words with commas.
func (f *ListFlag) String() string { return strings.Join(*f, ",") }

// Type is what pflag shows as the kind of value.
func (f *ListFlag) Type() string { return "list" }

// WordsFlag is a flag that accumulates values, each taken whole.
type WordsFlag []string

// Set adds a value.
func (f *WordsFlag) Set(s string) error {
	if s == "" {
		return errors.New("must not be empty")
	}
	*f = append(*f, s)
	return nil
}

// String joins the values with commas.
func (f *WordsFlag) String() string { return strings.Join(*f, ",") }

// Type is what pflag shows as the kind of value.
func (f *WordsFlag) Type() string { return "list" }
