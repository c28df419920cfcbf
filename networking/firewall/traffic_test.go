// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// world is a host with a bridge, two pods on it, and a client outside.
type world struct {
	host, client, pod, neighbour netns
}

const (
	outside    = "192.0.2.2"
	hostIP     = "192.0.2.1"
	gateway    = "172.30.1.1"
	podIP      = "172.30.1.2"
	outside6   = "fd00:c::2"
	hostIP6    = "fd00:c::1"
	gateway6   = "fd00:1::1"
	podIP6     = "fd00:1::2"
	second     = "172.30.1.3"
	second6    = "fd00:1::3"
	servedHere = "80"
	patience   = 3 * time.Second
	impatience = 300 * time.Millisecond
)

func newWorld(t *testing.T, host netns) world {
	t.Helper()
	w := world{host, newNetns(t), newNetns(t), newNetns(t)}
	host.must(t, func() error {
		for _, f := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+f, []byte("1"), 0); err != nil {
				return err
			}
		}
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br.0"}}
		return errors.Join(
			netlink.LinkAdd(bridge), link("lo"), link("br.0", gateway+"/24", gateway6+"/64"), RouteLocalnet("br.0"),
		)
	})
	w.connect(t, w.client, "", "client", []string{hostIP + "/24", hostIP6 + "/64"}, outside+"/24", outside6+"/64")
	w.connect(t, w.pod, "br.0", "pod", nil, podIP+"/24", podIP6+"/64")
	w.connect(t, w.neighbour, "br.0", "neighbour", nil, second+"/24", second6+"/64")
	for _, ns := range []netns{w.pod, w.neighbour} {
		ns.must(t, func() error { return errors.Join(defaultRoute(gateway), defaultRoute(gateway6)) })
	}
	w.host.must(t, func() error { return hairpin(true) })
	for _, ns := range []netns{w.client, w.pod} {
		serve(t, ns, ":"+servedHere)
	}
	serve(t, host, "[::1]:8080") // as the supervisor does for what no rule can translate
	return w
}

// hairpin lets the bridge send packets back to the pod they are from. Where
// br_netfilter translates addresses inside the bridge, that is needed for a
// pod to reach itself.
func hairpin(on bool) error {
	l, err := netlink.LinkByName("pod")
	if err != nil {
		return err
	}
	return netlink.LinkSetHairpin(l, on)
}

// routeAll ends what br_netfilter does, if it is there.
func routeAll() error {
	for _, f := range []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables"} {
		if err := os.WriteFile("/proc/sys/net/bridge/"+f, []byte("0"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// link brings a link up and gives it addresses that are good at once.
func link(name string, addrs ...string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(l, addr); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

func defaultRoute(via string) error {
	return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(via)})
}

func (w world) connect(t *testing.T, to netns, bridge, name string, hostAddrs []string, addrs ...string) {
	t.Helper()
	w.host.must(t, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(to)}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		if bridge != "" {
			b, err := netlink.LinkByName(bridge)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetMaster(v, b); err != nil {
				return err
			}
		}
		return link(name, hostAddrs...)
	})
	to.must(t, func() error { return errors.Join(link("lo"), link("eth0", addrs...)) })
}

// serve answers everybody with the address they come from, on TCP and UDP.
func serve(t *testing.T, ns netns, addr string) {
	t.Helper()
	var l net.Listener
	var u net.PacketConn
	ns.must(t, func() error {
		var err1, err2 error
		l, err1 = net.Listen("tcp", addr)
		u, err2 = net.ListenPacket("udp", addr)
		return errors.Join(err1, err2)
	})
	t.Cleanup(func() { _, _ = l.Close(), u.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(hostOf(c.RemoteAddr())))
			_ = c.Close()
		}
	}()
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = u.WriteTo([]byte(hostOf(from)), from)
		}
	}()
}

func hostOf(a net.Addr) string {
	return netip.MustParseAddrPort(a.String()).Addr().Unmap().String()
}

// call asks a server who is calling; "" when nobody answers.
func call(from netns, network, to string, wait time.Duration) string {
	var got string
	_ = from.do(func() error {
		c, err := net.DialTimeout(network, to, wait)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(wait))
		if network == "udp" {
			if _, err := c.Write([]byte("x")); err != nil {
				return err
			}
		}
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		got = string(buf[:n])
		return err
	})
	return got
}

type attempt struct {
	what    string
	from    netns
	network string
	to      string
	want    string // who the server says is calling
}

func (w world) attempts() []attempt {
	return []attempt{
		{"from outside", w.client, "tcp", hostIP + ":8080", outside},
		{"from the host by its own address", w.host, "tcp", hostIP + ":8080", hostIP},
		{"from the host by its loopback address", w.host, "tcp", "127.0.0.1:8080", gateway},
		{"from the host by another loopback address", w.host, "tcp", "127.0.0.2:8080", gateway},
		{"from the host by the gateway address", w.host, "tcp", gateway + ":8080", gateway},
		{"from the pod itself", w.pod, "tcp", gateway + ":8080", gateway},
		{"from the pod itself by another address", w.pod, "tcp", hostIP + ":8080", gateway},
		{"from a neighbour", w.neighbour, "tcp", gateway + ":8080", gateway},
		{"to a host address given", w.client, "tcp", hostIP + ":8081", outside},
		{"to another than the host address given", w.host, "tcp", "127.0.0.1:8081", ""},
		{"from outside, IPv6", w.client, "tcp", "[" + hostIP6 + "]:8080", outside6},
		{"from the host, IPv6", w.host, "tcp", "[" + hostIP6 + "]:8080", hostIP6},
		{"from the host by ::1", w.host, "tcp", "[::1]:8080", "::1"},
		{"from the host by ::1, UDP", w.host, "udp", "[::1]:8080", "::1"},
		{"from the pod itself, IPv6", w.pod, "tcp", "[" + hostIP6 + "]:8080", gateway6},
		{"from a neighbour, IPv6", w.neighbour, "tcp", "[" + gateway6 + "]:8080", gateway6},
		{"to a host address given, IPv6", w.client, "tcp", "[" + hostIP6 + "]:8081", outside6},
		{"to another than the host address given, IPv6", w.host, "tcp", "[" + gateway6 + "]:8081", ""},
		{"from outside, UDP", w.client, "udp", hostIP + ":8080", outside},
		{"from the host by its loopback address, UDP", w.host, "udp", "127.0.0.1:8080", gateway},
		{"from the pod itself, UDP", w.pod, "udp", gateway + ":8080", gateway},
		{"from outside, UDP and IPv6", w.client, "udp", "[" + hostIP6 + "]:8080", outside6},
		{"pod to outside", w.pod, "tcp", outside + ":80", hostIP},
		{"pod to outside, UDP", w.pod, "udp", outside + ":80", hostIP},
		{"pod to outside, IPv6", w.pod, "tcp", "[" + outside6 + "]:80", hostIP6},
		{"neighbour to pod", w.neighbour, "tcp", podIP + ":80", second},
		{"neighbour to pod, IPv6", w.neighbour, "tcp", "[" + podIP6 + "]:80", second6},
		{"host to pod", w.host, "tcp", podIP + ":80", gateway},
	}
}

func (w world) try(t *testing.T) {
	t.Helper()
	for _, a := range w.attempts() {
		wait := patience
		if a.want == "" {
			wait = impatience
		}
		if got := call(a.from, a.network, a.to, wait); got != a.want {
			t.Errorf("%s: the server sees %q, want %q", a.what, got, a.want)
		}
	}
}

func TestTraffic(t *testing.T) {
	eachBackend(t, func(t *testing.T, b inside) {
		w := newWorld(t, b.ns)
		p := testPod()
		for _, a := range w.attempts()[:3] {
			if got := call(a.from, a.network, a.to, impatience); got != "" {
				t.Errorf("without rules, %s: %q", a.what, got)
			}
		}
		b.mustAdd(t, p)
		w.try(t)
		b.ns.must(t, func() error { return errors.Join(hairpin(false), routeAll()) })
		w.try(t)
		// What is removed is over.
		if err := b.Remove(p.ID); err != nil {
			t.Fatal(err)
		}
		for _, a := range w.attempts()[:3] {
			if got := call(a.from, a.network, a.to, impatience); got != "" {
				t.Errorf("after Remove, %s: %q", a.what, got)
			}
		}
	})
}

func TestTrafficWithDroppingForward(t *testing.T) {
	for _, variant := range []string{"-nft", "-legacy"} {
		t.Run("iptables"+variant, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, b inside) {
				if x, ok := b.Backend.(*xtables); ok && !strings.Contains(x.v4.save, variant) {
					return // iptables of one variant knows nothing of the other's tables
				}
				w := newWorld(t, b.ns)
				p := testPod()
				for _, prog := range []string{"iptables", "ip6tables"} {
					b.ns.run(t, prog+variant, "-P", "FORWARD", "DROP")
				}
				b.mustAdd(t, p)
				b.mustAdd(t, Pod{ID: "neighbour", Masquerades: []Masquerade{
					{Network: "default", Addr: netip.MustParsePrefix(second + "/24")},
					{Network: "default", Addr: netip.MustParsePrefix(second6 + "/64")},
				}})
				w.try(t)
				if err := b.Remove(p.ID); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestGuard: a neighbour on the link cannot talk to what listens on 127.0.0.1
// only, though route_localnet would let it.
func TestGuard(t *testing.T) {
	eachBackend(t, func(t *testing.T, b inside) {
		w := newWorld(t, b.ns)
		b.ns.must(t, func() error { return RouteLocalnet("client") })
		var l net.PacketConn
		b.ns.must(t, func() error {
			var err error
			l, err = net.ListenPacket("udp", "127.0.0.1:7777")
			return err
		})
		t.Cleanup(func() { _ = l.Close() })
		arrives := func(src, dst string) bool {
			w.send(t, src, dst)
			_ = l.SetReadDeadline(time.Now().Add(impatience))
			_, _, err := l.ReadFrom(make([]byte, 100))
			return err == nil
		}
		if !arrives(outside, "127.0.0.1") {
			t.Error("the packet does not arrive without a guard either")
		}
		b.mustAdd(t, testPod())
		if arrives(outside, "127.0.0.1") {
			t.Error("the packet arrives")
		}
		if err := b.Remove(testID); err != nil {
			t.Fatal(err)
		}
	})
}

// send sends a datagram over the client's link as a hostile neighbour would.
func (w world) send(t *testing.T, src, dst string) {
	t.Helper()
	var mac net.HardwareAddr
	w.host.must(t, func() error {
		l, err := netlink.LinkByName("client")
		if err == nil {
			mac = l.Attrs().HardwareAddr
		}
		return err
	})
	w.client.must(t, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Protocol: bits.ReverseBytes16(unix.ETH_P_IP), Ifindex: l.Attrs().Index, Halen: 6}
		copy(to.Addr[:], mac)
		return unix.Sendto(fd, datagram(src, dst, 7777), 0, to)
	})
}

func datagram(src, dst string, port uint16) []byte {
	b := make([]byte, 28)
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], netip.MustParseAddr(src).AsSlice())
	copy(b[16:], netip.MustParseAddr(dst).AsSlice())
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum>>16+sum))
	binary.BigEndian.PutUint16(b[20:], 4000)
	binary.BigEndian.PutUint16(b[22:], port)
	binary.BigEndian.PutUint16(b[24:], 8)
	return b
}
