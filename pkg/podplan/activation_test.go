// SPDX-License-Identifier: Apache-2.0

package podplan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// sockets are those of "PROTO ADDRESS" words.
func sockets(proto string, addrs ...string) (all []Socket) {
	for _, a := range addrs {
		all = append(all, Socket{proto, netip.MustParseAddrPort(a)})
	}
	return all
}

func plain(proto string, port uint16) Listener {
	return Listener{proto, netip.AddrPortFrom(netip.Addr{}, port)}
}

func TestListeners(t *testing.T) {
	a := &App{App: &appc.App{Ports: []appc.Port{
		{Name: "http", Protocol: "tcp", Port: 80, Count: 1, SocketActivated: true},
		{Name: "other", Protocol: "tcp", Port: 81, Count: 1},
	}}}
	dns := &App{App: &appc.App{Ports: []appc.Port{{Name: "dns", Protocol: "udp", Port: 53, Count: 2, SocketActivated: true}}}}
	const assuming = `warning: no --port option for socket-activated port "http", assuming port 80 as specified in the manifest`
	http := func(ip string, port uint) appc.ExposedPort {
		return appc.ExposedPort{Name: "http", HostIP: ip, HostPort: port}
	}
	for _, tc := range []struct {
		name     string
		app      *App
		forwards []appc.ExposedPort
		passed   []Socket
		want     []Listener
		warnings []string
	}{
		{name: "nothing", app: &App{App: &appc.App{}}, passed: sockets("tcp", "0.0.0.0:80")},
		{name: "the port that was passed", app: a, forwards: []appc.ExposedPort{http("", 8080)}, passed: sockets("tcp", "[::]:8080", "[::]:80"), want: []Listener{Listener(sockets("tcp", "[::]:8080")[0])}},
		{name: "none passed", app: a, forwards: []appc.ExposedPort{http("", 8080)}, want: []Listener{plain("tcp", 80)}},
		{name: "of another protocol", app: a, forwards: []appc.ExposedPort{http("", 8080)}, passed: sockets("udp", "[::]:8080"), want: []Listener{plain("tcp", 80)}},
		{name: "of another address", app: a, forwards: []appc.ExposedPort{http("10.0.0.1", 8080)}, passed: sockets("tcp", "10.0.0.2:8080"), want: []Listener{plain("tcp", 80)}},
		{name: "of all addresses", app: a, forwards: []appc.ExposedPort{http("10.0.0.1", 8080)}, passed: sockets("tcp", "0.0.0.0:8080"), want: []Listener{Listener(sockets("tcp", "0.0.0.0:8080")[0])}},
		{name: "no --port", app: a, passed: sockets("tcp", "127.0.0.1:80"), want: []Listener{Listener(sockets("tcp", "127.0.0.1:80")[0])}, warnings: []string{assuming}},
		{name: "no --port, none passed", app: a, want: []Listener{plain("tcp", 80)}, warnings: []string{assuming}},
		{
			name: "two families, two ports", app: a, forwards: []appc.ExposedPort{http("", 8080), http("", 8081), http("", 8082)}, passed: sockets("tcp", "[::1]:8080", "127.0.0.1:8080", "127.0.0.1:8081"),
			want: append([]Listener{plain("tcp", 80)}, Listener(sockets("tcp", "127.0.0.1:8080")[0]), Listener(sockets("tcp", "[::1]:8080")[0]), Listener(sockets("tcp", "127.0.0.1:8081")[0])),
		},
		{
			name: "a range", app: dns, forwards: []appc.ExposedPort{{Name: "dns", HostPort: 5353}}, passed: sockets("udp", "127.0.0.1:5354"),
			want: []Listener{plain("udp", 53), Listener(sockets("udp", "127.0.0.1:5354")[0])},
		},
	} {
		got, warnings, err := tc.app.Listeners(tc.forwards, tc.passed)
		if err != nil || !slices.Equal(got, tc.want) || !slices.Equal(warnings, tc.warnings) {
			t.Errorf("%s: %v, %q, %v; want %v, %q", tc.name, got, warnings, err, tc.want, tc.warnings)
		}
	}
	odd := &App{App: &appc.App{Ports: []appc.Port{{Name: "x", Protocol: "sctp", Port: 1, SocketActivated: true}}}}
	if _, _, err := odd.Listeners(nil, nil); err == nil || err.Error() != "unrecognized protocol: sctp" {
		t.Error(err)
	}
}

func TestForwarded(t *testing.T) {
	activated := Port{Name: "http", Proto: "tcp", HostPort: 8080, PodPort: 80, SocketActivated: true}
	ordinary := Port{Name: "other", Proto: "tcp", HostPort: 8081, PodPort: 81}
	all := []Port{activated, ordinary}
	if got := Forwarded(all, sockets("tcp", "[::]:8080", "[::]:8081")); !slices.Equal(got, []Port{ordinary}) {
		t.Errorf("%v", got)
	}
	if got := Forwarded(all, sockets("tcp", "[::]:8082")); !slices.Equal(got, all) {
		t.Errorf("without its socket: %v", got)
	}
	if !slices.Equal(all, []Port{activated, ordinary}) {
		t.Error("the argument is changed")
	}
}
