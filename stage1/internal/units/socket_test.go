// SPDX-License-Identifier: Apache-2.0

package units

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSocketUnit(t *testing.T) {
	const want = `[Unit]
Description=Sockets of web
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target sockets.target
BindsTo=web.service
OnFailure=emergency.target
OnFailureJobMode=replace-irreversibly

[Socket]
BindIPv6Only=both
Service=web.service
ListenStream=8080
ListenStream=127.0.0.1:80
ListenDatagram=[::1]:53
ListenStream=[::]:1
`
	got := Socket{App: "web", Listen: []Listen{
		{Addr: netip.AddrPortFrom(netip.Addr{}, 8080)},
		{Addr: netip.MustParseAddrPort("127.0.0.1:80")},
		{Addr: netip.MustParseAddrPort("[::1]:53"), Datagram: true},
		{Addr: netip.MustParseAddrPort("[::]:1")},
	}}.Unit()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if u := (App{Name: "web", Socket: true}).Unit(); !strings.Contains(u, "\nRequires=web.socket\nAfter=web.socket\n") {
		t.Errorf("the service does not need its sockets:\n%s", u)
	}
}
