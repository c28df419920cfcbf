// SPDX-License-Identifier: Apache-2.0

package host

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/agent"
)

// TestRefuse: what a virtual machine is not for.
func TestRefuse(t *testing.T) {
	for want, r := range map[string]entrypoint.Run{
		"":                      {Net: "default"},
		"private network":       {Net: "default,host"},
		"private IPC namespace": {Net: "none", IPC: "parent"},
		"unknown value":         {Net: "none", IPC: "x"},
		"no user namespaces":    {Net: "none", PrivateUsers: "1:2"},
		"no mutable pods":       {Net: "none", Mutable: true},
	} {
		err := (&pod{call: r}).refuse()
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
}

// TestGuestArgs: what belongs to the host does not go into the guest.
func TestGuestArgs(t *testing.T) {
	id, err := poddir.ParseUUID("6733c088-a507-4694-aabf-0123456789ab")
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{call: entrypoint.Run{
		Path: "/x", Net: "none", Hostname: "h", LocalConfig: "/etc/rkt", MDSToken: strings.Repeat("a", 32), IPC: "auto", Interactive: true, UUID: id,
	}}
	got := p.guestArgs()
	if want := []string{"--net=none", "--interactive", "--hostname=h", id.String()}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDescribeRoute: routes of plugins are told, those of addresses are not.
func TestDescribeRoute(t *testing.T) {
	_, dst, err := net.ParseCIDR("10.1.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	gw := net.ParseIP("10.2.0.1")
	for name, tt := range map[string]struct {
		in   netlink.Route
		want agent.Route
		ok   bool
	}{
		"of an address":  {netlink.Route{Dst: dst, Protocol: unix.RTPROT_KERNEL, Type: unix.RTN_UNICAST}, agent.Route{}, false},
		"a broadcast":    {netlink.Route{Dst: dst, Type: unix.RTN_BROADCAST}, agent.Route{}, false},
		"of a plugin":    {netlink.Route{Dst: dst, Gw: gw, Type: unix.RTN_UNICAST, Priority: 5}, agent.Route{Dst: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.2.0.1"), Metric: 5}, true},
		"the default":    {netlink.Route{Gw: gw, Type: unix.RTN_UNICAST}, agent.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.2.0.1")}, true},
		"the default, 6": {netlink.Route{Gw: net.ParseIP("fd00::1"), Type: unix.RTN_UNICAST}, agent.Route{Dst: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fd00::1")}, true},
	} {
		got, ok := describeRoute(tt.in)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
	}
}

// TestTail: what a guest has said last is one line without orders to a terminal.
func TestTail(t *testing.T) {
	c := &tail{}
	for range 1000 {
		_, _ = c.Write([]byte("long ago\n"))
	}
	_, _ = c.Write([]byte("\x1b[2J\x07\r\n Kernel \x00panic\xff\n\n"))
	got := c.text()
	if len(got) > tailSize*2 || !strings.HasSuffix(got, "; [2J; Kernel panic") {
		t.Errorf("%q", got[max(0, len(got)-60):])
	}
}

// TestCheckVolume: another kernel can be shown directories and files.
func TestCheckVolume(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{dir: "", file: "", fifo: "neither a directory nor a file", "/dev/null": "neither", dir + "/x": "no such file"} {
		err := checkVolume(&appc.Volume{Name: "v", Kind: "host", Source: source})
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

// TestQemuUser: each pod has its own, and nobody has it in a distribution.
func TestQemuUser(t *testing.T) {
	seen := map[uint32]bool{}
	for _, s := range []string{"6733c088-a507-4694-aabf-0123456789ab", "6733c088-a507-4694-aabf-0123456789ac"} {
		id, err := poddir.ParseUUID(s)
		if err != nil {
			t.Fatal(err)
		}
		uid := (&pod{call: entrypoint.Run{UUID: id}}).qemuUser()
		if uid < 2_000_000_000 || uid >= 2_100_000_000 || seen[uid] {
			t.Errorf("%d", uid)
		}
		seen[uid] = true
	}
}

// TestRequest: a request has exactly three streams, and what is refused is closed.
func TestRequest(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	fd := int(null.Fd())
	good, err := json.Marshal(agent.Command{Program: "enter", Args: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		text string
		fds  []int
		ok   bool
	}{
		"as it should be": {string(good), []int{fd, fd, fd}, true},
		"no streams":      {string(good), nil, false},
		"two streams":     {string(good), []int{fd, fd}, false},
		"four streams":    {string(good), []int{fd, fd, fd, fd}, false},
		"no request":      {"hello", []int{fd, fd, fd}, false},
	} {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		var rights []byte
		if tt.fds != nil {
			rights = unix.UnixRights(tt.fds...)
		}
		if err := unix.Sendmsg(pair[0], []byte(tt.text), rights, nil, 0); err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(pair[1]), "pair")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		cmd, files, err := readRequest(c.(*net.UnixConn))
		if tt.ok != (err == nil) || tt.ok && (cmd.Program != "enter" || len(files) != 3) {
			t.Errorf("%s: %+v, %v, %v", name, cmd, files, err)
		}
		closeAll(files...)
		_ = c.Close()
		_ = unix.Close(pair[0])
	}
}
