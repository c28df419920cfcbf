// SPDX-License-Identifier: Apache-2.0

package units

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/unit"
)

// SocketsDir has a link to each socket unit that is to be there from the start.
const SocketsDir = Dir + "/sockets.target.wants"

// SocketUnit is the unit name of the sockets of an app.
func SocketUnit(app string) string { return app + ".socket" }

// Socket is what the unit of an app's sockets says.
type Socket struct {
	App    string
	Listen []Listen
}

// Listen is one socket. Without an address it is of all; with one, systemd
// takes the socket it was started with for its own if that has this very
// address (systemd.socket(5), sd_listen_fds(3)).
type Listen struct {
	Datagram bool
	Addr     netip.AddrPort
}

// Unit returns the text of the unit. The sockets are those of one life of the
// app: they end with it, or a connection would start it again.
func (s Socket) Unit() string {
	var b strings.Builder
	b.WriteString("[Unit]\nDescription=" + unit.Text("Sockets of "+s.App) + "\nDefaultDependencies=no\nConflicts=shutdown.target\nBefore=shutdown.target sockets.target\n")
	b.WriteString("BindsTo=" + Service(s.App) + "\nOnFailure=emergency.target\nOnFailureJobMode=replace-irreversibly\n\n[Socket]\nBindIPv6Only=both\nService=" + Service(s.App) + "\n")
	for _, l := range s.Listen {
		key := "ListenStream="
		if l.Datagram {
			key = "ListenDatagram="
		}
		b.WriteString(key + l.address() + "\n")
	}
	return b.String()
}

func (l Listen) address() string {
	if !l.Addr.Addr().IsValid() {
		return strconv.Itoa(int(l.Addr.Port()))
	}
	return l.Addr.String() // IPv6 in brackets
}
