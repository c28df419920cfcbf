// SPDX-License-Identifier: Apache-2.0

package front

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const lo = "00000000000000000000000000000001 01 80 10 80       lo\n"

func TestHasIPv6(t *testing.T) {
	enabled := map[string]string{"sys/net/ipv6/conf/all/disable_ipv6": "0\n", "sys/net/ipv6/conf/default/disable_ipv6": "0\n"}
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  bool
	}{
		{"not in the kernel", nil, false},
		{"loopback only", map[string]string{"net/if_inet6": lo}, false},
		{"link local only", map[string]string{"net/if_inet6": lo + "fe800000000000000000000000000001 02 40 20 80     eth0\n"}, false},
		{"global of lo", map[string]string{"net/if_inet6": "20010db8000000000000000000000001 01 80 00 80       lo\n"}, false},
		{"unique local", map[string]string{"net/if_inet6": lo + "fd000000000000000000000000000001 02 40 00 80     eth0\n"}, true},
		{"disabled", map[string]string{"sys/net/ipv6/conf/default/disable_ipv6": "1\n", "net/if_inet6": "fd000000000000000000000000000001 02 40 00 80     eth0\n"}, false},
		{"no table", map[string]string{}, false},
	} {
		proc := t.TempDir()
		if tc.files != nil {
			write(t, proc, enabled)
		}
		write(t, proc, tc.files)
		if got, err := hasIPv6(proc); got != tc.want || err != nil {
			t.Errorf("%s: %v %v", tc.name, got, err)
		}
	}
}

func TestKeepRouterAdvertisements(t *testing.T) {
	files := map[string]string{
		"all/forwarding": "0\n", "all/accept_ra": "1\n",
		"default/forwarding": "0\n", "default/accept_ra": "1\n",
		"eth0/forwarding": "0\n", "eth0/accept_ra": "1\n",
		"eth1/forwarding": "0\n", "eth1/accept_ra": "0\n",
		"eth2/forwarding": "1\n", "eth2/accept_ra": "1\n",
		"gone/x": "",
	}
	for _, tc := range []struct{ forwarding, eth0 string }{{"0\n", "2"}, {"1\n", "1"}} {
		sys := t.TempDir()
		conf := filepath.Join(sys, "net/ipv6/conf")
		files["all/forwarding"] = tc.forwarding
		write(t, conf, files)
		if err := keepRouterAdvertisements(sys); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"all": "1", "default": "1", "eth0": tc.eth0, "eth1": "0", "eth2": "1"} {
			got, err := os.ReadFile(filepath.Join(conf, name, "accept_ra"))
			if err != nil || strings.TrimSpace(string(got)) != want {
				t.Errorf("%s: %q, not %q (%v)", name, got, want, err)
			}
		}
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
