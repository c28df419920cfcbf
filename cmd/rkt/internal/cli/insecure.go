// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"
)

// Insecure is the set of security features that --insecure-options switches
// off. The zero value switches off nothing.
type Insecure struct {
	Image, TLS, HTTP, PubKey     bool // while fetching
	Capabilities, Paths, Seccomp bool // while running
	ondisk                       bool // accepted for old scripts, no effect
}

// insecureNames are the words of --insecure-options.
func insecureNames() []string {
	return []string{
		"none", "image", "tls", "ondisk", "http", "pubkey", "capabilities", "paths", "seccomp",
		"all-fetch", "all-run", "all",
	}
}

// Set parses the flag's value, replacing what an earlier use set.
func (o *Insecure) Set(s string) error {
	var set Insecure
	seen := map[string]bool{}
	for word := range strings.SplitSeq(s, ",") {
		name := strings.ToLower(word)
		if seen[name] {
			return fmt.Errorf("duplicated option %q", word)
		}
		seen[name] = true
		if !set.add(name) {
			return fmt.Errorf("unknown option %q", word)
		}
	}
	*o = set
	return nil
}

func (o *Insecure) add(name string) bool {
	switch name {
	case "none":
	case "image":
		o.Image = true
	case "tls":
		o.TLS = true
	case "http":
		o.HTTP = true
	case "pubkey":
		o.PubKey = true
	case "ondisk":
		o.ondisk = true
	case "capabilities":
		o.Capabilities = true
	case "paths":
		o.Paths = true
	case "seccomp":
		o.Seccomp = true
	case "all-fetch":
		o.Image, o.TLS, o.HTTP, o.PubKey = true, true, true, true
	case "all-run":
		o.Capabilities, o.Paths, o.Seccomp = true, true, true
	case "all":
		return o.add("all-fetch") && o.add("all-run")
	default:
		return false
	}
	return true
}

// String lists everything in effect, "none" if nothing is.
func (o *Insecure) String() string {
	var names []string
	for _, f := range []struct {
		on   bool
		name string
	}{
		{o.Image, "image"},
		{o.TLS, "tls"},
		{o.HTTP, "http"},
		{o.PubKey, "pubkey"},
		{o.ondisk, "ondisk"},
		{o.Capabilities, "capabilities"},
		{o.Paths, "paths"},
		{o.Seccomp, "seccomp"},
	} {
		if f.on {
			names = append(names, f.name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}

// Type is what pflag shows as the kind of value.
func (o *Insecure) Type() string { return "list" }
