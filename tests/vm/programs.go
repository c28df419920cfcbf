// SPDX-License-Identifier: Apache-2.0

//go:build vm

package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// fakeNft stands in for nft where the kernel has no nf_tables: it lists the
// rules that there are.
const fakeNft = "#!/bin/sh\niptables-save && ip6tables-save\n"

// networkPrograms puts this machine's ip, nft and iptables, with the libraries
// they need, below the root of a host. legacy says which iptables it is.
func networkPrograms(t *testing.T, root string, legacy bool) {
	t.Helper()
	const sbin = "/usr/sbin"
	copyProgram(t, root, "/bin/ip", sbin+"/ip")
	multi := []string{"xtables-legacy-multi"}
	if legacy {
		writeNew(t, root+sbin+"/nft", []byte(fakeNft), 0o755)
	} else {
		copyProgram(t, root, sbin+"/nft", sbin+"/nft")
		multi = append(multi, "xtables-nft-multi")
	}
	for _, m := range multi {
		copyProgram(t, root, sbin+"/"+m, sbin+"/"+m)
		variant := "-" + strings.Split(m, "-")[1]
		for _, name := range []string{"iptables", "ip6tables"} {
			for _, verb := range []string{"", "-save", "-restore"} {
				link(t, m, root+sbin+"/"+name+variant+verb)
				if legacy == (variant == "-legacy") {
					link(t, m, root+sbin+"/"+name+verb)
				}
			}
		}
	}
	const extensions = "/usr/lib/x86_64-linux-gnu/xtables"
	all, err := filepath.Glob(extensions + "/*.so")
	if err != nil || len(all) == 0 {
		t.Fatalf("no %s/*.so: install iptables with \"make deps-vm\"", extensions)
	}
	for _, file := range all {
		writeNew(t, root+file, read(t, file), 0o755)
	}
}

// copyProgram copies a program with what the dynamic linker loads for it.
func copyProgram(t *testing.T, root, from, to string) {
	t.Helper()
	writeNew(t, root+to, read(t, from), 0o755)
	for line := range strings.Lines(harness.Command(t, "ldd", from)) {
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "/") {
				writeNew(t, root+word, read(t, word), 0o755)
			}
		}
	}
}

func writeNew(t *testing.T, file string, body []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, body, mode); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
