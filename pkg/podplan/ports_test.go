// SPDX-License-Identifier: Apache-2.0

package podplan

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
)

func TestPorts(t *testing.T) {
	ports := []appc.Port{
		{Name: "http", Protocol: "tcp", Port: 80, Count: 1},
		{Name: "dns", Protocol: "udp", Port: 53, Count: 1},
		{Name: "range", Protocol: "tcp", Port: 6000, Count: 3},
		{Name: "socket", Protocol: "tcp", Port: 7, SocketActivated: true},
		{Name: "odd", Protocol: "icmp", Port: 7, Count: 1},
		{Name: "wide", Protocol: "tcp", Port: 1, Count: 65535},
	}
	images := map[appc.Name]*appc.ImageManifest{"a": {App: &appc.App{Ports: ports}}, "b": {App: &appc.App{Ports: []appc.Port{{Name: "twice", Protocol: "tcp", Port: 1}}}}, "none": {}}
	apps := []appc.RuntimeApp{{Name: "a"}, {Name: "b"}, {Name: "c", App: &appc.App{Ports: []appc.Port{{Name: "twice", Protocol: "tcp", Port: 2}}}}, {Name: "none"}}
	local, local6 := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	for _, tc := range []struct {
		name string
		in   []appc.ExposedPort
		want []Port
		err  string
	}{
		{name: "none"},
		{name: "one", in: []appc.ExposedPort{{Name: "http", HostPort: 8080}}, want: []Port{{Name: "http", Proto: "tcp", HostPort: 8080, PodPort: 80}}},
		{
			name: "several of the host for one of the pod", in: []appc.ExposedPort{{Name: "http", HostPort: 1, HostIP: "127.0.0.1"}, {Name: "http", HostPort: 2, HostIP: "::1"}},
			want: []Port{{Name: "http", Proto: "tcp", HostIP: local, HostPort: 1, PodPort: 80}, {Name: "http", Proto: "tcp", HostIP: local6, HostPort: 2, PodPort: 80}},
		},
		{
			name: "protocols and addresses apart", in: []appc.ExposedPort{{Name: "http", HostPort: 53, HostIP: "127.0.0.1"}, {Name: "http", HostPort: 53, HostIP: "::1"}, {Name: "dns", HostPort: 53}},
			want: []Port{
				{Name: "http", Proto: "tcp", HostIP: local, HostPort: 53, PodPort: 80},
				{Name: "http", Proto: "tcp", HostIP: local6, HostPort: 53, PodPort: 80},
				{Name: "dns", Proto: "udp", HostPort: 53, PodPort: 53},
			},
		},
		{
			name: "a range", in: []appc.ExposedPort{{Name: "range", HostPort: 65533}},
			want: []Port{
				{Name: "range", Proto: "tcp", HostPort: 65533, PodPort: 6000},
				{Name: "range", Proto: "tcp", HostPort: 65534, PodPort: 6001},
				{Name: "range", Proto: "tcp", HostPort: 65535, PodPort: 6002},
			},
		},
		{name: "count 0 is 1", in: []appc.ExposedPort{{Name: "socket", HostPort: 9}}, want: []Port{{Name: "socket", Proto: "tcp", HostPort: 9, PodPort: 7, SocketActivated: true}}},
		{
			name: "of no app", in: []appc.ExposedPort{{Name: "x", HostPort: 1, HostIP: "::ffff:127.0.0.1", PodPort: &appc.Port{Name: "x", Protocol: "TCP", Port: 2, Count: 2}}},
			want: []Port{{Name: "x", Proto: "tcp", HostIP: local, HostPort: 1, PodPort: 2}, {Name: "x", Proto: "tcp", HostIP: local, HostPort: 2, PodPort: 3}},
		},
		{name: "unknown", in: []appc.ExposedPort{{Name: "x", HostPort: 1}}, err: `port name "x" could not be found in any apps`},
		{name: "of two apps", in: []appc.ExposedPort{{Name: "twice", HostPort: 1}}, err: `port name "twice" defined multiple apps`},
		{name: "taken", in: []appc.ExposedPort{{Name: "http", HostPort: 1}, {Name: "range", HostPort: 1, HostIP: "10.0.0.1"}}, err: "port tcp-0.0.0.0:1 already mapped to pod port 80"},
		{name: "taken by all", in: []appc.ExposedPort{{Name: "http", HostPort: 1, HostIP: "::1"}, {Name: "http", HostPort: 1, HostIP: "0.0.0.0"}}, err: "port tcp-::1:1 already mapped to pod port 80"},
		{name: "taken in a range", in: []appc.ExposedPort{{Name: "range", HostPort: 1}, {Name: "http", HostPort: 3}}, err: "port tcp-0.0.0.0:3 already mapped to pod port 6002"},
		{name: "range too far", in: []appc.ExposedPort{{Name: "range", HostPort: 65534}}, err: `port name "range": 3 ports from 65534 do not fit in 1-65535`},
		{name: "range of the pod too far", in: []appc.ExposedPort{{Name: "x", HostPort: 1, PodPort: &appc.Port{Protocol: "tcp", Port: 65535, Count: 2}}}, err: `port name "x": 2 ports from 65535 do not fit in 1-65535`},
		{name: "no port", in: []appc.ExposedPort{{Name: "http"}}, err: `port name "http": 1 ports from 0 do not fit in 1-65535`},
		{name: "huge count", in: []appc.ExposedPort{{Name: "x", HostPort: 1, PodPort: &appc.Port{Protocol: "tcp", Port: 1, Count: ^uint(0)}}}, err: `port name "x": 18446744073709551615 ports from 1 do not fit in 1-65535`},
		{name: "too many", in: []appc.ExposedPort{{Name: "wide", HostPort: 1}}, err: `port name "wide": a pod can have 4096 ports of the host`},
		{name: "protocol", in: []appc.ExposedPort{{Name: "odd", HostPort: 1}}, err: `port name "odd": unrecognized protocol: icmp`},
		{name: "address", in: []appc.ExposedPort{{Name: "http", HostPort: 1, HostIP: "x"}}, err: `port name "http": "x" is not a valid IP`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Ports(&appc.PodManifest{Apps: apps, Ports: tc.in}, images)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("error %v, want %s", err, tc.err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}
