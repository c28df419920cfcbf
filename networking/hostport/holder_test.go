// SPDX-License-Identifier: Apache-2.0

package hostport

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPodOf(t *testing.T) {
	const uuid = "6733c088-a507-4694-aabf-35a4f4d0f7cb"
	for cwd, want := range map[string]bool{
		"/var/lib/rkt/pods/run/" + uuid:               true,
		"/pods/run/" + uuid:                           true,
		"/var/lib/rkt/pods/exited-garbage/" + uuid:    false,
		"/var/lib/rkt/xpods/run/" + uuid:              false,
		"/var/lib/rkt/pods/run/" + uuid + "/stage1":   false,
		"/pods/run/" + strings.ToUpper(uuid):          false,
		"/pods/run/" + strings.Repeat("0", len(uuid)): false,
		"/pods/run/": false,
		"":           false,
	} {
		if got, ok := podOf(cwd); ok != want || ok && got != uuid {
			t.Errorf("%q: %q, %v", cwd, got, ok)
		}
	}
}

func TestDescribe(t *testing.T) {
	proc := t.TempDir()
	if err := os.Mkdir(filepath.Join(proc, "7"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, want := describe(proc, 7), "process 7"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for comm, want := range map[string]string{
		"nginx\n":      "nginx (process 7)",
		"a b\n":        "a b (process 7)",
		"a\nb\x1b[m\n": `"a\nb\x1b[m" (process 7)`,
	} {
		if err := os.WriteFile(filepath.Join(proc, "7", "comm"), []byte(comm), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := describe(proc, 7); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzParseTable(f *testing.F) {
	f.Add("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n")
	f.Add("   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 4712 1 0\n")
	f.Add("0: : : 0A 0 0 0 0 0 1\n")
	f.Fuzz(func(t *testing.T, table string) {
		for _, s := range parseTable(strings.NewReader(table)) {
			if !s.local.IsValid() || s.inode == "" {
				t.Errorf("%+v", s)
			}
		}
	})
}

func TestParseAddr(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the samples are of a little-endian machine")
	}
	for s, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"00000000:0035":                         "0.0.0.0:53",
		"00000000000000000000000001000000:0050": "[::1]:80",
		"0000000000000000FFFF00000100007F:0050": "127.0.0.1:80",
	} {
		if got, ok := parseAddr(s); !ok || got != netip.MustParseAddrPort(want) {
			t.Errorf("%s: %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", ":", "0100007F", "0100007F:10000", "01:50", "0100007F0100007F:50", "x100007F:50"} {
		if got, ok := parseAddr(s); ok {
			t.Errorf("%q: %v", s, got)
		}
	}
}
