// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

func numbered(n int) Pod {
	a := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}), 16)
	return Pod{
		ID:          fmt.Sprintf("6a5b3c1e-0001-4000-8000-%012d", n),
		Masquerades: []Masquerade{{Network: "default", Addr: a}},
		Forwards:    []Forward{{Name: "http", Proto: "tcp", HostPort: uint16(10000 + n), PodPort: 80, To: a.Addr(), Subnet: a}},
	}
}

// rules is what the kernel has, without counters.
func (b inside) rules(t testing.TB) string {
	t.Helper()
	x, ok := b.Backend.(*xtables)
	if !ok {
		return b.ns.run(t, "nft", "-a", "list", "ruleset")
	}
	var text string
	b.ns.must(t, func() error {
		for _, p := range x.families() {
			s, err := p.read("")
			if err != nil {
				return err
			}
			for _, r := range s.rules {
				text += r.table + " " + r.chain + " " + strings.Join(r.words, " ") + "\n"
			}
		}
		return nil
	})
	return text
}

func TestLife(t *testing.T) {
	eachBackend(t, func(t *testing.T, b inside) {
		p := testPod()
		if got := b.missing(t, p); !strings.Contains(got, `masquerade of 172.30.1.2 (network "default")`) ||
			!strings.Contains(got, "forwarded port tcp 0.0.0.0:8080 to 172.30.1.2:80") {
			t.Errorf("missing: %s", got)
		}
		if err := b.Remove(p.ID); err != nil {
			t.Errorf("remove of nothing: %v", err)
		}
		// First the networks, then the ports, then all again.
		b.mustAdd(t, Pod{ID: p.ID, Masquerades: p.Masquerades[:1]})
		b.mustAdd(t, Pod{ID: p.ID, Masquerades: []Masquerade{{Network: "second", Addr: netip.MustParsePrefix("10.2.0.2/16")}}})
		b.mustAdd(t, Pod{ID: p.ID, Masquerades: p.Masquerades[1:]})
		b.mustAdd(t, Pod{ID: p.ID, Forwards: p.Forwards[:3]})
		b.mustAdd(t, Pod{ID: p.ID, Forwards: p.Forwards[3:]})
		b.mustAdd(t, numbered(1))
		before := b.rules(t)
		if testing.Verbose() {
			t.Log(before)
		}
		b.mustAdd(t, p)
		if after := b.rules(t); stripHandles(after) != stripHandles(before) {
			t.Errorf("adding again changed\n%s", after)
		}
		if got := b.missing(t, p); got != "" {
			t.Errorf("missing after Add: %s", got)
		}
		if got, want := b.ids(t), fmt.Sprintf("%q", []string{numbered(1).ID, p.ID}); len(got) != len(want) {
			t.Errorf("IDs %s", got)
		}
		if err := b.RemoveNetwork(p.ID, "default"); err != nil {
			t.Error(err)
		}
		got := b.missing(t, p)
		if !strings.HasPrefix(got, `masquerade of 172.30.1.2 (network "default"); masquerade of fd00`) && !strings.Contains(got, `; masquerade of fd00:1::2 (network "default")`) || strings.Contains(got, "port") {
			t.Errorf("missing after RemoveNetwork: %s", got)
		}
		if err := b.Remove(p.ID); err != nil {
			t.Error(err)
		}
		left := b.rules(t)
		if strings.Contains(left, p.ID) || strings.Contains(left, "172.30.1.") || strings.Contains(left, "10.2.0.") || strings.Contains(left, "fd00") {
			t.Errorf("left after Remove:\n%s", left)
		}
		if got := b.missing(t, numbered(1)); got != "" {
			t.Errorf("another pod misses %s", got)
		}
		if err := b.Remove(numbered(1).ID); err != nil {
			t.Error(err)
		}
		if got := b.ids(t); got != "[]" {
			t.Errorf("IDs %s", got)
		}
	})
}

// stripHandles leaves out the handles of rules that Add makes anew.
func stripHandles(rules string) string {
	var b strings.Builder
	for l := range strings.Lines(rules) {
		l, _, _ = strings.Cut(l, " # handle")
		b.WriteString(strings.TrimSpace(l) + "\n")
	}
	return b.String()
}

func TestHostileNames(t *testing.T) {
	eachBackend(t, func(t *testing.T, b inside) {
		var pods []Pod
		for i, id := range []string{"\"", "a b\\", "\n-j ACCEPT", strings.Repeat("long ", 80), strings.Repeat("long ", 80) + "2", strings.Repeat("\x00", 200)} {
			p := numbered(i)
			p.ID = id
			p.Masquerades[0].Network = "x\"\n" + id[:min(len(id), 200)]
			pods = append(pods, p)
			b.mustAdd(t, p)
			b.mustAdd(t, p)
		}
		if b.Name() == "nftables" { // but for the quotes, what nft prints it reads
			file := filepath.Join(t.TempDir(), "ruleset")
			rules := singleQuotes(b.ns.run(t, "nft", "list", "ruleset"))
			if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
				t.Fatal(err)
			}
			other := newNetns(t)
			other.run(t, "nft", "-f", file)
			if again := other.run(t, "nft", "list", "ruleset"); again != rules {
				t.Errorf("read again:\n%s", again)
			}
		}
		for i, p := range pods {
			if got := b.missing(t, p); got != "" {
				t.Errorf("%q misses %s", p.ID, got)
			}
			var ids []string
			b.ns.must(t, func() error {
				var err error
				ids, err = b.IDs()
				return err
			})
			if len(ids) != len(pods)-i {
				t.Fatalf("IDs %q", ids)
			}
			if err := b.RemoveNetwork(p.ID, p.Masquerades[0].Network); err != nil {
				t.Error(err)
			}
			if got := b.missing(t, p); !strings.Contains(got, "masquerade") {
				t.Errorf("%q misses %s", p.ID, got)
			}
			if err := b.Remove(p.ID); err != nil {
				t.Error(err)
			}
		}
		if got := b.ids(t); got != "[]" {
			t.Errorf("IDs %s", got)
		}
	})
}

// singleQuotes replaces the quotes in comments, which nft does not escape.
func singleQuotes(rules string) string {
	const begin = `comment "`
	var b strings.Builder
	for l := range strings.Lines(rules) {
		if before, comment, ok := strings.Cut(l, begin); ok {
			l = before + begin + strings.ReplaceAll(strings.TrimSuffix(comment, "\"\n"), `"`, "'") + "\"\n"
		}
		b.WriteString(l)
	}
	return b.String()
}

func TestRepair(t *testing.T) {
	testenv.NeedsRoot(t)
	ns := newNetns(t)
	b := inside{newNft(), ns}
	p := testPod()
	b.mustAdd(t, p)
	for _, damage := range [][]string{
		{"flush", "ruleset"},
		{"flush", "chain", "inet", "rkt", "postrouting"},
		{"flush", "chain", "inet", "rkt", "ports"},
		{"flush", "chain", "inet", "rkt", "guard"},
		{"flush", "chain", "inet", "rkt", nftPlan(checked(t, p)).Owned[0].Name},
		{"flush", "table", "inet", "rkt"},
		{"delete", "chain", "inet", "rkt", "prerouting"},
	} {
		t.Run(strings.Join(damage[:2], " ")+" "+damage[len(damage)-1], func(t *testing.T) {
			want := stripHandles(b.rules(t))
			ns.run(t, append([]string{"nft"}, damage...)...)
			if got := b.missing(t, p); got == "" {
				t.Error("nothing is missing")
			} else {
				t.Log(got)
			}
			b.mustAdd(t, p)
			if got := b.missing(t, p); got != "" {
				t.Errorf("still missing: %s", got)
			}
			if got := stripHandles(b.rules(t)); len(got) != len(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestConcurrent: pods come and go at once, each on a thread and backend of
// its own, as different processes would have them.
func TestConcurrent(t *testing.T) {
	eachBackend(t, func(t *testing.T, b inside) {
		const count = 50
		var wg sync.WaitGroup
		errs := make([]error, count)
		for i := range count {
			wg.Go(func() {
				mine := b
				if x, ok := b.Backend.(*xtables); ok {
					own := *x
					mine.Backend = &own
				} else {
					mine.Backend = newNft()
				}
				p := numbered(i)
				errs[i] = errors.Join(
					mine.Add(Pod{ID: p.ID, Masquerades: p.Masquerades}), mine.Add(Pod{ID: p.ID, Forwards: p.Forwards}),
				)
				if i%2 == 1 {
					errs[i] = errors.Join(errs[i], mine.Remove(p.ID))
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for i := range count {
			missing := b.missing(t, numbered(i))
			if (missing == "") != (i%2 == 0) {
				t.Errorf("pod %d misses %q", i, missing)
			}
		}
	})
}

// TestSpeed measures; the limits are wide for a busy machine.
func TestSpeed(t *testing.T) {
	testenv.NeedsRoot(t)
	ns := newNetns(t)
	ns.must(t, func() error {
		start := time.Now()
		if err := probeNft(); err != nil {
			return err
		}
		t.Logf("probe: %v", time.Since(start))
		b := newNft()
		for i := range 220 {
			p := numbered(i)
			start := time.Now()
			if err := b.Add(p); err != nil {
				return err
			}
			if took := time.Since(start); i == 0 || i == 5 || i == 20 || i >= 217 {
				t.Logf("add of pod %d: %v", i, took)
			}
		}
		start = time.Now()
		if err := b.Add(numbered(100)); err != nil {
			return err
		}
		t.Logf("add again among 220: %v", time.Since(start))
		start = time.Now()
		if words, err := b.Missing(numbered(100)); err != nil || len(words) > 0 {
			return fmt.Errorf("%v %w", words, err)
		}
		t.Logf("missing among 220: %v", time.Since(start))
		start = time.Now()
		if err := b.Remove(numbered(100).ID); err != nil {
			return err
		}
		t.Logf("remove among 220: %v", time.Since(start))
		many := numbered(300)
		for port := range 2000 {
			f := many.Forwards[0]
			f.HostPort = uint16(20000 + port)
			many.Forwards = append(many.Forwards, f)
		}
		start = time.Now()
		if err := b.Add(many); err != nil {
			return err
		}
		t.Logf("add of 2000 ports: %v", time.Since(start))
		return nil
	})
}

func TestOpen(t *testing.T) {
	testenv.NeedsRoot(t)
	newNetns(t).must(t, func() error {
		b, err := Open()
		if err != nil {
			return err
		}
		if b.Name() != "nftables" {
			t.Errorf("opened %s", b.Name())
		}
		err = once(func(s *socket) error {
			msg, err := getChain(s, unix.NFPROTO_INET, "rkt-probe", "guard")
			if msg != nil {
				t.Error("the probe stayed")
			}
			return err
		})
		if err != nil {
			return err
		}
		x, err := newXtables(t.TempDir() + "/lock")
		if err != nil {
			return err
		}
		if x.Name() != "iptables" {
			t.Errorf("opened %s", x.Name())
		}
		return nil
	})
}

// TestAddIsAtomic: the second family fails, the first is taken back.
func TestAddIsAtomic(t *testing.T) {
	testenv.NeedsRoot(t)
	x := newTestXtables(t, "-nft")
	x.v6.restore = "/bin/false"
	b := inside{x, newNetns(t)}
	if err := b.Add(testPod()); err == nil {
		t.Error("no error")
	} else {
		t.Log(err)
	}
	if got := b.rules(t); got != "" {
		t.Errorf("left:\n%s", got)
	}
}

func TestForwardPolicy(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, variant := range []string{"-nft", "-legacy"} {
		for name, open := range map[string]func(*testing.T) Backend{
			"nftables": func(*testing.T) Backend { return newNft() },
			"iptables": func(t *testing.T) Backend { return newTestXtables(t, variant) },
		} {
			t.Run(name+" with iptables"+variant, func(t *testing.T) {
				b := inside{open(t), newNetns(t)}
				p := testPod()
				for _, prog := range []string{"iptables", "ip6tables"} {
					b.ns.run(t, prog+variant, "-P", "FORWARD", "DROP")
				}
				list := func() string {
					return b.ns.run(t, "iptables"+variant, "-S", "FORWARD") + b.ns.run(t, "ip6tables"+variant, "-S", "FORWARD")
				}
				empty := list()
				b.mustAdd(t, p)
				b.mustAdd(t, p)
				if got := list(); strings.Count(got, "-j ACCEPT") != 8 {
					t.Error(got)
				}
				if got := b.missing(t, p); got != "" {
					t.Error(got)
				}
				if err := b.RemoveNetwork(p.ID, "default"); err != nil {
					t.Error(err)
				}
				if got := list(); strings.Count(got, "-j ACCEPT") != 4 {
					t.Error(got)
				}
				if got := b.missing(t, p); !strings.Contains(got, "passage of 172.30.1.2") {
					t.Error(got)
				}
				if err := b.Remove(p.ID); err != nil {
					t.Error(err)
				}
				if got := list(); got != empty {
					t.Error(got)
				}
			})
		}
	}
}

func TestRouteLocalnet(t *testing.T) {
	testenv.NeedsRoot(t)
	newNetns(t).must(t, func() error {
		for _, bad := range []string{"", ".", "..", "../all", "a/b", "a\x00"} {
			if RouteLocalnet(bad) == nil {
				t.Errorf("%q is a device", bad)
			}
		}
		if err := RouteLocalnet("none"); !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EACCES) {
			t.Error(err)
		}
		if err := RouteLocalnet("lo"); err != nil {
			return err
		}
		data, err := os.ReadFile("/proc/sys/net/ipv4/conf/lo/route_localnet")
		if string(data) != "1\n" {
			t.Errorf("%q", data)
		}
		return err
	})
}
