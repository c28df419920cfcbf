// SPDX-License-Identifier: Apache-2.0

package mds

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestURL(t *testing.T) {
	for want, in := range map[string]struct {
		e    Endpoint
		host string
	}{
		"http://172.16.28.1:18112/t":   {Endpoint{Port: DefaultPort}, "172.16.28.1"},
		"https://[fd00:28::1]:18443/t": {Endpoint{Port: 18443, TLS: true}, "fd00:28::1"},
	} {
		if got := in.e.URL(netip.MustParseAddr(in.host), "t"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestEndpointIsRecorded(t *testing.T) {
	d := Dir(t.TempDir())
	if e, err := d.Endpoint(); err != nil || e != (Endpoint{Port: DefaultPort}) {
		t.Errorf("without a record: %v, %v", e, err)
	}
	for _, want := range []Endpoint{{Port: 1}, {Port: 65535, TLS: true}} {
		if err := d.Record(want); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Endpoint(); err != nil || got != want {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	for _, bad := range []string{"", "0", "65536", "-1", "+1", "01", "1 TLS", "1  tls", "1\n2", strings.Repeat("1", 100)} {
		if err := os.WriteFile(d.endpoint(), []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if e, err := d.Endpoint(); err == nil {
			t.Errorf("%q reads as %v", bad, e)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	f.Add("18112")
	f.Add("18112 tls")
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := ParseEndpoint(s); err == nil && e.String() != s {
			t.Errorf("%q reads as %q", s, e)
		}
	})
}

func TestToken(t *testing.T) {
	a, b := NewToken(), NewToken()
	if a == b || len(a) != 32 || !ValidToken(a) {
		t.Errorf("%q, %q", a, b)
	}
	for _, bad := range []string{"", "a/b", "a b", "a%20", "..", "ä", "a\n", strings.Repeat("a", MaxToken+1)} {
		if ValidToken(bad) {
			t.Errorf("%q is taken for a token", bad)
		}
	}
}
