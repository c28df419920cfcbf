// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const testID = "6a5b3c1e-0000-4000-8000-000000000001"

func testPod() Pod {
	ip, ip6 := netip.MustParsePrefix("172.30.1.2/24"), netip.MustParsePrefix("fd00:1::2/64")
	return Pod{
		ID: testID,
		Masquerades: []Masquerade{
			{Network: "default", Addr: ip},
			{Network: "default", Addr: ip6},
		},
		Forwards: []Forward{
			{Name: "http", Proto: "tcp", HostIP: netip.IPv4Unspecified(), HostPort: 8080, PodPort: 80, To: ip.Addr(), Subnet: ip},
			{Name: "http", Proto: "tcp", HostIP: netip.IPv4Unspecified(), HostPort: 8080, PodPort: 80, To: ip6.Addr(), Subnet: ip6},
			{Name: "web", Proto: "tcp", HostIP: netip.MustParseAddr("192.0.2.1"), HostPort: 8081, PodPort: 80, To: ip.Addr(), Subnet: ip},
			{Name: "dns", Proto: "udp", HostPort: 8080, PodPort: 80, To: ip.Addr(), Subnet: ip},
			{Name: "http6", Proto: "tcp", HostPort: 8080, PodPort: 80, To: ip6.Addr(), Subnet: ip6},
			{Name: "web6", Proto: "tcp", HostIP: netip.MustParseAddr("fd00:c::1"), HostPort: 8081, PodPort: 80, To: ip6.Addr(), Subnet: ip6},
			{Name: "udp6", Proto: "udp", HostPort: 8080, PodPort: 80, To: ip6.Addr(), Subnet: ip6},
			{Proto: "sctp", HostPort: 9, PodPort: 9, To: ip.Addr()},
		},
	}
}

func checked(t testing.TB, p Pod) Pod {
	t.Helper()
	p, err := p.check()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlans(t *testing.T) {
	hostile := Pod{ID: strings.Repeat("long \"id\"\n", 12), Masquerades: []Masquerade{
		{Network: "net\" -j ACCEPT\nCOMMIT", Addr: netip.MustParsePrefix("10.1.0.2/16")},
	}}
	for name, p := range map[string]Pod{"pod": testPod(), "hostile": hostile} {
		p = checked(t, p)
		golden(t, name+".nft", nftPlan(p).String())
		for _, v6 := range []bool{false, true} {
			s := saved{}.add(append(xtPlan(p, v6), xtAccept(p, v6)...))
			text, err := s.text()
			if err != nil {
				t.Fatal(err)
			}
			if s.empty() {
				continue
			}
			golden(t, fmt.Sprintf("%s.%s", name, tables(v6)), text)
		}
	}
}

// TestUndoOfPlan: what a plan adds is removed by its comments alone, and
// nothing else.
func TestUndoOfPlan(t *testing.T) {
	p := checked(t, testPod())
	text, err := saved{}.add(append(xtPlan(p, false), xtAccept(p, false)...)).text()
	if err != nil {
		t.Fatal(err)
	}
	var s saved
	for l := range strings.Lines(text + "*nat\n:KUBE-X - [0:0]\n-A KUBE-X -m comment --comment \"id: other\" -j ACCEPT\n") {
		l = strings.Replace(l, "-I ", "-A ", 1)
		text += l
	}
	s = parseSave(text)
	removed, err := s.remove(func(c string) bool { return owner(c, testID) }).text()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(removed, "-X "); n != 3 || strings.Contains(removed, "KUBE") {
		t.Errorf("%d chains deleted:\n%s", n, removed)
	}
	if s.remove(func(c string) bool { return owner(c, "6a5b3c1e") }).empty() == false {
		t.Error("an ID that begins alike owns rules")
	}
}

func TestCheck(t *testing.T) {
	ok := Forward{Proto: "tcp", HostPort: 1, PodPort: 1, To: netip.MustParseAddr("10.0.0.2")}
	with := func(change func(*Forward)) Pod {
		f := ok
		change(&f)
		return Pod{ID: "x", Forwards: []Forward{f}}
	}
	for want, p := range map[string]Pod{
		"is empty or longer":    {},
		"is longer than 256":    {ID: "x", Masquerades: []Masquerade{{Network: strings.Repeat("n", 257)}}},
		"no address of a pod":   {ID: "x", Masquerades: []Masquerade{{}}},
		"invalid protocol":      with(func(f *Forward) { f.Proto = "icmp" }),
		"port 0":                with(func(f *Forward) { f.PodPort = 0 }),
		"different families":    with(func(f *Forward) { f.HostIP = netip.MustParseAddr("fd00::1") }),
		"no address of the":     with(func(f *Forward) { f.HostIP = netip.MustParseAddr("224.0.0.1") }),
		"127.0.0.1 is no addre": with(func(f *Forward) { f.To = netip.MustParseAddr("127.0.0.1") }),
	} {
		if _, err := p.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	p := checked(t, with(func(f *Forward) { f.HostIP = netip.IPv6Unspecified() }))
	if len(p.Forwards) != 0 {
		t.Error(":: forwards to IPv4")
	}
	p = checked(t, with(func(f *Forward) { f.HostIP, f.To = netip.IPv6Loopback(), netip.MustParseAddr("fd00::2") }))
	if len(p.Forwards) != 0 {
		t.Error("::1 is forwarded")
	}
}

func TestLabels(t *testing.T) {
	ids := []string{
		testID, "a", "~", `\~`, `a\`, `"`, "id: \"x\"", "\x00\xff\n", "ü",
		strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 66), strings.Repeat("\xfe\"", 256),
		strings.Repeat("ü☃", 60), label(strings.Repeat("x", 66), idLabel),
	}
	all := names{}
	labels := map[string]bool{}
	for _, id := range ids {
		comment := networkComment(strings.Repeat("\"\n", 100), id)
		if len(comment) > maxComment {
			t.Errorf("comment of %d bytes: %s", len(comment), comment)
		}
		for _, other := range ids {
			if owner(comment, other) != (id == other) {
				t.Errorf("%q owned by %q", comment, other)
			}
		}
		all.add(comment)
		for _, piece := range pieces(id) {
			if len(piece) > maxComment {
				t.Errorf("piece of %d bytes: %s", len(piece), piece)
			}
			all.add(piece)
		}
		labels[label(id, idLabel)] = true
	}
	got := all.ids()
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		t.Errorf("got %q\nwant %q", got, ids)
	}
	if len(labels) != len(ids) {
		t.Error("labels collide")
	}
	if !ownerNetwork(networkComment("a", "b"), "b", "a") || ownerNetwork(networkComment("a", "b"), "a", "b") || ownerNetwork(idComment("b"), "b", "") {
		t.Error("networks are confused")
	}
}

func FuzzLabel(f *testing.F) {
	f.Add("default", testID, "other")
	f.Add("a\" id: \"b", "\\", "\\~")
	f.Fuzz(func(t *testing.T, network, id, other string) {
		if id == "" || len(id) > maxID {
			return
		}
		comment := networkComment(network, id)
		tg, ok := parseTag(comment)
		if !ok || tg.rest != "" || len(comment) > maxComment || !owner(comment, id) || !ownerNetwork(comment, id, network) {
			t.Fatalf("%q: %+v", comment, tg)
		}
		if other != id && owner(comment, other) {
			t.Fatalf("%q is owned by %q", comment, other)
		}
		all := names{}
		all.add(comment)
		for _, p := range pieces(id) {
			all.add(p)
		}
		if got := all.ids(); len(got) != 1 || got[0] != id {
			t.Fatalf("%q gives %q", id, got)
		}
	})
}

// FuzzQuote: what quote lets through is one word for iptables-restore.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a b", "\"", "\\", "\\\"", "-j ACCEPT", "x\ny", "'", "`x`", "$(x)", "ü"} {
		f.Add(s, "b")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		l, err := line([]string{a, b})
		if err != nil {
			if !strings.ContainsFunc(a+b, func(r rune) bool { return r < 0x20 || r >= 0x7f }) {
				t.Fatal(err)
			}
			return
		}
		if strings.ContainsAny(l, "\n\r\x00") {
			t.Fatalf("%q", l)
		}
		words, err := split(l)
		if err != nil || !slices.Equal(words, []string{a, b}) {
			t.Fatalf("%q gives %q, %v", l, words, err)
		}
	})
}

// FuzzNetwork: a hostile network adds no line and no word to what is restored.
func FuzzNetwork(f *testing.F) {
	f.Add("x\" -j ACCEPT\nCOMMIT\n*filter", testID)
	f.Fuzz(func(t *testing.T, network, id string) {
		p := Pod{ID: id, Masquerades: []Masquerade{{Network: network, Addr: netip.MustParsePrefix("10.1.0.2/16")}}}
		if p, err := p.check(); err == nil {
			text, err := saved{}.add(xtPlan(p, false)).text()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Count(text, "\n"), 3+3+len(pieces(id)); got != want {
				t.Fatalf("%d lines, want %d:\n%s", got, want, text)
			}
			for l := range strings.Lines(text) {
				if words, err := split(strings.TrimSuffix(l, "\n")); err != nil || len(words) > 11 {
					t.Fatalf("%q: %q, %v", l, words, err)
				}
			}
		}
	})
}

func FuzzParseSave(f *testing.F) {
	f.Add("*nat\n:A - [0:0]\n-A A -m comment --comment \"id: \\\"x\\\"\" -j B\nCOMMIT\n")
	f.Fuzz(func(_ *testing.T, text string) {
		s := parseSave(text)
		_, _ = s.remove(func(c string) bool { return owner(c, "x") }).text()
		_ = s.lacks(nil)
	})
}
