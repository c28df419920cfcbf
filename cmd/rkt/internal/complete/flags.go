// SPDX-License-Identifier: Apache-2.0

package complete

import (
	"strings"

	"github.com/spf13/pflag"
)

// dirFlags are the flags whose value is a directory.
func dirFlags() []string {
	return []string{"dir", "system-config", "local-config", "user-config"}
}

// fileFlags are the flags whose value is a file.
func fileFlags() []string {
	return []string{"uuid-file", "uuid-file-save", "signature", "pod-manifest", "set-env-file", "stage1-path", "cosign-key", "cpuprofile", "memprofile"}
}

// listFlags take several of their values with commas between.
func listFlags() []string { return []string{"insecure-options", "fields", "sort"} }

// fixed are the words a flag takes, as far as there is a list of them: that in
// its help text, else one known here.
func fixed(f *pflag.Flag) []string {
	if _, list, ok := strings.Cut(f.Usage, "allowed values: "); ok {
		return quoted(list)
	}
	switch f.Name {
	case "progress":
		return []string{"auto", "plain", "json", "none"}
	case "stdin":
		return []string{"null", "tty", "stream"}
	case "stdout", "stderr":
		return []string{"log", "null", "tty", "stream"}
	case "dns":
		return []string{"host", "none"}
	case "hosts-entry":
		return []string{"host"}
	case "mode":
		return []string{"auto", "list", "stdin", "stdout", "stderr", "tty", "tty-in", "tty-out"}
	case "stage1-name":
		return []string{"coreos.com/rkt/stage1-coreos", "coreos.com/rkt/stage1-fly"}
	case "stage1-from-dir":
		return []string{"stage1-coreos.aci", "stage1-fly.aci", "stage1-host.aci"}
	}
	if f.Value.Type() == "bool" {
		return []string{"true", "false"}
	}
	return nil
}

// quoted are the words in quotes at the begin of a text, as help texts list
// them; the list ends with the first thing that is neither quoted nor a comma.
func quoted(text string) []string {
	var list []string
	for {
		text = strings.TrimLeft(text, ", ")
		rest, ok := strings.CutPrefix(text, `"`)
		if !ok {
			return list
		}
		word, after, ok := strings.Cut(rest, `"`)
		if !ok {
			return list
		}
		list, text = append(list, word), after
	}
}
