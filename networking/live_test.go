// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/networking/call"
	"github.com/rkt/rkt/v2/networking/firewall"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

// pluginName is what the test binary is called where it is a plugin.
const pluginName = "rkt-test-plugin"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == pluginName {
		os.Exit(plugin(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// pluginConf is the configuration of the plugin.
type pluginConf struct {
	CNIVersion string `json:"cniVersion"`
	Name       string `json:"name"`
	Type       string `json:"type"`
	Log        string `json:"log"`            // what the plugin is called for goes there
	Fail       string `json:"fail,omitempty"` // the command that fails if the file fail is there
	Addr       string `json:"addr,omitempty"`
	Hang       bool   `json:"hang,omitempty"` // in ADD
	Valid      []struct {
		ContainerID string `json:"containerID"`
		IfName      string `json:"ifname"`
	} `json:"cni.dev/valid-attachments,omitempty"`
}

func plugin(stdin io.Reader, stdout io.Writer) int {
	command := os.Getenv("CNI_COMMAND")
	if command == "VERSION" {
		_, _ = io.WriteString(stdout, `{"cniVersion": "1.1.0", "supportedVersions": ["0.1.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]}`)
		return 0
	}
	var c pluginConf
	if err := json.NewDecoder(stdin).Decode(&c); err != nil {
		return 1
	}
	line := command + " " + c.Name + " " + os.Getenv("CNI_IFNAME")
	if command == "DEL" && os.Getenv("CNI_NETNS") == "" {
		line += " without namespace"
	}
	for _, v := range c.Valid {
		line += " " + v.ContainerID + "/" + v.IfName
	}
	f, err := os.OpenFile(c.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	_, _ = fmt.Fprintln(f, line)
	_ = f.Close()
	if command == "ADD" && c.Hang {
		time.Sleep(time.Hour)
	}
	if _, err := os.Stat(c.Log + ".fail"); err == nil && c.Fail == command {
		_, _ = io.WriteString(stdout, `{"cniVersion": "1.0.0", "code": 100, "msg": "`+command+" of "+c.Name+` fails"}`)
		return 1
	}
	if command == "ADD" {
		r := map[string]any{"cniVersion": c.CNIVersion}
		if c.Addr != "" {
			gateway := netip.MustParsePrefix(c.Addr).Masked().Addr().Next()
			r["ips"] = []any{map[string]any{"address": c.Addr, "gateway": gateway.String(), "version": "4"}}
		}
		_ = json.NewEncoder(stdout).Encode(r)
	}
	return 0
}

// lab is a data directory with pods, on a host that is a network namespace. The
// test runs in it.
type lab struct {
	t        *testing.T
	data     string
	conf     string // configuration directory
	log      string // of the plugin
	rules    firewall.Backend
	messages bytes.Buffer
}

func newLab(t *testing.T) *lab {
	t.Helper()
	testenv.NeedsRoot(t)
	runtime.LockOSThread() // not unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, data: t.TempDir(), conf: t.TempDir()}
	l.log = filepath.Join(l.data, "log")
	program, err := os.Executable()
	if err == nil {
		err = errors.Join(os.Mkdir(filepath.Join(l.conf, confDir), 0o755), os.Symlink(program, filepath.Join(l.conf, confDir, pluginName)))
	}
	if err != nil {
		t.Fatal(err)
	}
	l.rules = &rules{}
	// The host's end of the networks.
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "host0"}, PeerName: "host1"}
	addr := &netlink.Addr{IPNet: ptr(ipNet(t, "10.1.2.1/24"))}
	if err := errors.Join(netlink.LinkAdd(link), netlink.AddrAdd(link, addr), netlink.LinkSetUp(link)); err != nil {
		t.Fatal(err)
	}
	return l
}

func ptr[T any](v T) *T { return &v }

// network writes a configuration.
func (l *lab) network(file string, c pluginConf) {
	l.t.Helper()
	c.Type, c.Log = pluginName, l.log
	if c.CNIVersion == "" {
		c.CNIVersion = "1.0.0"
	}
	data, err := json.Marshal(c)
	if err != nil {
		l.t.Fatal(err)
	}
	writeTo(l.t, filepath.Join(l.conf, confDir, file), string(data))
}

// pod makes a pod directory with a namespace and goes there.
func (l *lab) pod() poddir.UUID {
	l.t.Helper()
	uuid := poddir.NewUUID()
	dir := filepath.Join(l.data, poddir.Pods, poddir.Run, uuid.String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	l.t.Chdir(dir)
	ns := netns.Path(uuid.String())
	if err := netns.Pin(ns); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = netns.Unpin(ns) })
	return uuid
}

func (l *lab) setup(ctx context.Context, uuid poddir.UUID, net string, ports ...call.Port) (call.Answer, error) {
	return Setup(ctx, call.Request{UUID: uuid, Net: net, ConfigDirs: []string{l.conf}, NetNS: netns.Path(uuid.String()), Ports: ports}, &l.messages)
}

// mustSetup sets networks up and forgets that the plugin was called for that.
func (l *lab) mustSetup(net string) poddir.UUID {
	l.t.Helper()
	uuid := l.pod()
	if _, err := l.setup(l.t.Context(), uuid, net); err != nil {
		l.t.Fatal(err)
	}
	l.called()
	return uuid
}

// called is what the plugin was called for since it was asked last.
func (l *lab) called() []string {
	data, _ := os.ReadFile(l.log)
	_ = os.Remove(l.log)
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' })
}

func (l *lab) wasCalled(what string, want ...string) {
	l.t.Helper()
	if got := l.called(); !slices.Equal(got, want) {
		l.t.Errorf("%s: the plugin was called for %q, want %q", what, got, want)
	}
}

// failing lets the commands that configurations name fail, or not.
func (l *lab) failing(yes bool) {
	l.t.Helper()
	if !yes {
		_ = os.Remove(l.log + ".fail")
		return
	}
	writeTo(l.t, l.log+".fail", "")
}

// left is what there is of a pod outside of its directory.
func (l *lab) left(uuid poddir.UUID) (all []string) {
	l.t.Helper()
	for _, pattern := range []string{netns.Path(uuid.String()), registryFile(l.data, uuid), filepath.Join(l.data, poddir.NetData, "results", "*"+uuid.String()+"*")} {
		names, _ := filepath.Glob(pattern)
		all = append(all, names...)
	}
	ids, err := l.rules.IDs()
	if err != nil {
		l.t.Fatal(err)
	}
	if slices.Contains(ids, uuid.String()) {
		all = append(all, "rules")
	}
	return all
}

func (l *lab) nothingLeft(what string, uuid poddir.UUID) {
	l.t.Helper()
	if left := l.left(uuid); len(left) > 0 {
		l.t.Errorf("%s: there is %q", what, left)
	}
	if copies, _ := filepath.Glob(filepath.Join(poddir.Net, "*")); len(copies) > 0 {
		l.t.Errorf("%s: there is %q", what, copies)
	}
}

var web = call.Port{Name: "web", Proto: "tcp", HostPort: 8080, PodPort: 80}

// versions are those for which plugins are called in different ways.
func versions() []string { return []string{"0.3.1", "0.4.0", "1.1.0"} }

func TestSetupAndTearDown(t *testing.T) {
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			l := newLab(t)
			l.network("10-a.conf", pluginConf{Name: "a", Addr: "10.1.2.3/24", CNIVersion: version})
			l.network("20-b.conf", pluginConf{Name: "b", CNIVersion: version})
			uuid := l.pod()
			a, err := l.setup(t.Context(), uuid, "b:K=v,a", web)
			if err == nil {
				t.Fatalf("ports go to the last network, which gives no address: %+v", a)
			}
			l.network("20-b.conf", pluginConf{Name: "b", Addr: "10.1.2.4/24", CNIVersion: version})
			l.called()
			uuid = l.pod()
			if a, err = l.setup(t.Context(), uuid, "b:K=v,a", web); err != nil {
				t.Fatal(err)
			}
			l.wasCalled("set-up", "ADD a eth0", "ADD b eth1")
			if a.Pod4 != netip.MustParseAddr("10.1.2.4") || a.HostIP != netip.MustParseAddr("10.1.2.1") {
				t.Errorf("%+v", a)
			}
			nets, err := netinfo.Read(poddir.NetInfo)
			if err != nil || len(nets) != 2 || nets[0].IP != "10.1.2.3" || nets[1].IP != "10.1.2.4" || nets[1].Args != "K=v" || nets[1].IfName != "eth1" {
				t.Errorf("%+v, %v", nets, err)
			}
			st, err := readState(registryFile(l.data, uuid))
			if err != nil || len(st.Confs) != 2 || len(st.Nets) != 2 || st.NetNS != netns.Path(uuid.String()) {
				t.Errorf("%+v, %v", st, err)
			}
			if left := l.left(uuid); !slices.Contains(left, "rules") {
				t.Errorf("there is only %q", left)
			}
			tearDown := func() error { return TearDown(t.Context(), uuid, "", &l.messages, false) }
			if err := tearDown(); err != nil {
				t.Error(err)
			}
			l.wasCalled("teardown", "DEL b eth1", "DEL a eth0")
			if err := netns.Unpin(st.NetNS); err != nil {
				t.Error(err)
			}
			l.nothingLeft("teardown", uuid)
			if err := tearDown(); err != nil {
				t.Errorf("again: %v", err)
			}
			l.wasCalled("teardown again")
		})
	}
}

// TestSetupRollsBack has the second of three networks fail.
func TestSetupRollsBack(t *testing.T) {
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			l := newLab(t)
			l.network("10-a.conf", pluginConf{Name: "a", Addr: "10.1.2.3/24", CNIVersion: version})
			l.network("20-b.conf", pluginConf{Name: "b", CNIVersion: version, Fail: "ADD"})
			l.network("30-c.conf", pluginConf{Name: "c", CNIVersion: version})
			l.failing(true)
			uuid := l.pod()
			_, err := l.setup(t.Context(), uuid, "a,b,c")
			if err == nil || err.Error() != `error adding network "b": ADD of b fails` {
				t.Errorf("%v", err)
			}
			calls := l.called()
			if slices.Index(calls, "DEL a eth0") < slices.Index(calls, "DEL b eth1") || slices.Contains(calls, "ADD c eth2") || !slices.Contains(calls, "DEL b eth1") {
				t.Errorf("the plugin was called for %q", calls)
			}
			l.nothingLeft("a failure", uuid)
		})
	}
}

// TestRollBackFails has what a rollback cannot take back be swept later.
func TestRollBackFails(t *testing.T) {
	l := newLab(t)
	l.network("10-a.conf", pluginConf{Name: "a", Fail: "DEL"})
	l.network("20-b.conf", pluginConf{Name: "b", Hang: true})
	l.failing(true)
	uuid := l.pod()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if data, _ := os.ReadFile(l.log); bytes.Contains(data, []byte("ADD b")) {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := l.setup(ctx, uuid, "a,b")
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `error deleting "a": plugin type="rkt-test-plugin" failed (delete): DEL of a fails`) && !strings.Contains(err.Error(), "DEL of a fails") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(registryFile(l.data, uuid)); err != nil {
		t.Errorf("nobody will find what is left: %v", err)
	}
	l.called()
	if err := os.RemoveAll(filepath.Join(l.data, poddir.Pods, poddir.Run, uuid.String())); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	sweep := func() error { return Sweep(t.Context(), l.data, &l.messages, false) }
	if err := sweep(); err == nil || !strings.Contains(err.Error(), "DEL of a fails") {
		t.Errorf("%v", err)
	}
	l.failing(false)
	l.called()
	if err := sweep(); err != nil {
		t.Error(err)
	}
	l.wasCalled("sweep", "DEL b eth1 without namespace", "DEL a eth0 without namespace")
	l.nothingLeft("sweep", uuid)
}

// TestSetupRefused has requests fail before anything is recorded.
func TestSetupRefused(t *testing.T) {
	l := newLab(t)
	l.network("10-a.conf", pluginConf{Name: "a"})
	writeTo(t, filepath.Join(l.conf, confDir, "20-evil.conf"), `{"cniVersion": "0.3.1", "name": "evil", "type": "../net.d/`+pluginName+`"}`)
	writeTo(t, filepath.Join(l.conf, confDir, "30-none.conf"), `{"cniVersion": "0.3.1", "name": "none-such", "type": "no-such-plugin"}`)
	for _, c := range []struct{ net, want string }{
		{"nowhere", "networks not found: nowhere"},
		{"a,evil", "invalid"},
		{"a,none-such", `Could not find plugin "no-such-plugin"`},
		{"a,a", "duplicate"},
		{"a:nonsense", "invalid pair"},
	} {
		uuid := l.pod()
		if _, err := l.setup(t.Context(), uuid, c.net); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("--net=%s: %v", c.net, err)
		}
		l.nothingLeft("--net="+c.net, uuid)
	}
}

// TestTearDownGoesOn has teardown do what it can, whatever it finds.
func TestTearDownGoesOn(t *testing.T) {
	l := newLab(t)
	l.network("10-a.conf", pluginConf{Name: "a"})
	l.network("20-b.conf", pluginConf{Name: "b", Fail: "DEL"})
	l.network("30-c.conf", pluginConf{Name: "c"})
	for _, c := range []struct {
		name, fails string
		do          func() error
		want        []string
		registered  bool // swept later
	}{
		{
			name: "a plugin fails", fails: "DEL of b fails", registered: true,
			do:   func() error { l.failing(true); return nil },
			want: []string{"DEL c eth2", "DEL b eth1", "DEL a eth0"},
		},
		{
			name: "no copy of a configuration",
			do:   func() error { return os.Remove(poddir.Net + "/20-b.conf") },
			want: []string{"DEL c eth2", "DEL a eth0"},
		},
		{
			name: "a damaged copy of a configuration", fails: `error loading "net/20-b.conf"; ignoring`, registered: true,
			do:   func() error { return os.WriteFile(poddir.Net+"/20-b.conf", []byte("{"), 0o600) },
			want: []string{"DEL c eth2", "DEL a eth0"},
		},
		{
			name: "no namespace",
			do: func() error {
				ns, err := os.ReadFile(poddir.NetNS)
				return errors.Join(err, netns.Unpin(string(ns)))
			},
			want: []string{"DEL c eth2 without namespace", "DEL b eth1 without namespace", "DEL a eth0 without namespace"},
		},
		{
			name: "no registered record",
			do:   func() error { return os.RemoveAll(filepath.Join(l.data, poddir.NetPods)) },
			want: []string{"DEL c eth2", "DEL b eth1", "DEL a eth0"},
		},
		{
			name: "a damaged record", fails: poddir.NetInfo, registered: true,
			do: func() error { return os.WriteFile(poddir.NetInfo, nil, 0o600) },
		},
		{
			name: "a damaged state", fails: poddir.NetState, registered: true,
			do: func() error { return os.Truncate(poddir.NetState, 10) },
		},
		{name: "no record", do: func() error { return os.Remove(poddir.NetInfo) }, registered: true},
	} {
		l.failing(false)
		uuid := l.mustSetup("a,b,c")
		writeTo(t, poddir.NetNS, netns.Path(uuid.String()))
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		err := TearDown(t.Context(), uuid, "", &l.messages, false)
		if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v", c.name, err)
		}
		l.wasCalled(c.name, c.want...)
		if _, err := os.Stat(registryFile(l.data, uuid)); (err == nil) != c.registered {
			t.Errorf("%s: the registered record: %v", c.name, err)
		}
		if c.want != nil {
			if copies, _ := filepath.Glob(poddir.Net + "/*"); len(copies) > 0 {
				t.Errorf("%s: there is %q", c.name, copies)
			}
		}
		l.failing(false)
		if err := os.RemoveAll(filepath.Join(l.data, poddir.Pods, poddir.Run, uuid.String())); err != nil {
			t.Fatal(err)
		}
		t.Chdir(t.TempDir())
		if err := Sweep(t.Context(), l.data, &l.messages, false); err != nil {
			t.Errorf("%s: sweep: %v", c.name, err)
		}
		l.called()
		if c.registered {
			l.nothingLeft(c.name+" and sweep", uuid)
		}
	}
}

func TestSweep(t *testing.T) {
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			l := newLab(t)
			l.network("10-a.conf", pluginConf{Name: "a", CNIVersion: version})
			l.network("20-b.conf", pluginConf{Name: "b", CNIVersion: version})
			gone := l.mustSetup("a,b")
			garbage := l.mustSetup("a")
			there := l.mustSetup("a")
			pods := filepath.Join(l.data, poddir.Pods)
			err := errors.Join(
				os.RemoveAll(filepath.Join(pods, poddir.Run, gone.String())),
				os.MkdirAll(filepath.Join(pods, poddir.ExitedGarbage), 0o755),
				os.Rename(filepath.Join(pods, poddir.Run, garbage.String()), filepath.Join(pods, poddir.ExitedGarbage, garbage.String())),
			)
			if err != nil {
				t.Fatal(err)
			}
			writeTo(t, filepath.Join(l.data, poddir.NetPods, "no-uuid"), "{}")
			half := filepath.Join(l.data, poddir.NetPods, "."+gone.String()+".tmp-1")
			writeTo(t, half, "{")
			t.Chdir(t.TempDir())
			before := slices.Concat(l.left(there), l.left(garbage))

			setup, err := lock.TryTake(netDir(l.data), lock.Shared)
			if err != nil {
				t.Fatal(err)
			}
			if err := Sweep(t.Context(), l.data, &l.messages, false); err != nil {
				t.Error(err)
			}
			l.wasCalled("a sweep during a set-up")
			if err := setup.Close(); err != nil {
				t.Fatal(err)
			}

			l.messages.Reset()
			for range 2 {
				if err := Sweep(t.Context(), l.data, &l.messages, false); err != nil {
					t.Error(err)
				}
			}
			valid := []string{there.String() + "/eth0", garbage.String() + "/eth0"}
			slices.Sort(valid)
			want := []string{"DEL b eth1 without namespace", "DEL a eth0 without namespace"}
			if version == "1.1.0" { // of b nobody is left
				want = append(want, "GC a  VALID", "GC a  VALID")
			}
			got := l.called()
			for i := range got {
				if f := strings.Fields(got[i]); f[0] == "GC" {
					if now := slices.Sorted(slices.Values(f[2:])); slices.Equal(now, valid) {
						got[i] = "GC a  VALID"
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("the plugin was called for %q, want %q", got, want)
			}
			if text := "networking: sweeping the networks of pod " + gone.String() + ", which is gone\n"; l.messages.String() != text {
				t.Errorf("messages %q, want %q", &l.messages, text)
			}
			l.nothingLeft("sweep", gone)
			if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a record that was not written to its end: %v", err)
			}
			if after := slices.Concat(l.left(there), l.left(garbage)); !slices.Equal(after, before) {
				t.Errorf("there is %q of the pods that are there, before %q", after, before)
			}
		})
	}
}

// TestSweepDamaged has sweep take away the record that it cannot read, and what
// it finds without it.
func TestSweepDamaged(t *testing.T) {
	for name, damage := range map[string]func(file string) error{
		"empty":      func(file string) error { return os.Truncate(file, 0) },
		"cut off":    func(file string) error { return os.Truncate(file, 50) },
		"too big":    func(file string) error { return os.Truncate(file, maxState+1) },
		"a link":     func(file string) error { return errors.Join(os.Remove(file), os.Symlink("/etc/passwd", file)) },
		"something":  func(file string) error { return os.WriteFile(file, []byte(`{"networks": [{}]}`), 0o600) },
		"other type": func(file string) error { return os.WriteFile(file, []byte(`{"netns": 1}`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.network("10-a.conf", pluginConf{Name: "a", Addr: "10.1.2.3/24"})
			uuid := l.pod()
			if _, err := l.setup(t.Context(), uuid, "a:K=v", web); err != nil {
				t.Fatal(err)
			}
			l.called()
			if err := errors.Join(damage(registryFile(l.data, uuid)), os.RemoveAll(filepath.Join(l.data, poddir.Pods))); err != nil {
				t.Fatal(err)
			}
			// Where a record does not say where plugins are, they are those of stage1.
			t.Chdir(t.TempDir())
			program, err := os.Executable()
			if err == nil {
				err = errors.Join(os.MkdirAll(ownPlugins, 0o755), os.Symlink(program, filepath.Join(ownPlugins, pluginName)))
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := Sweep(t.Context(), l.data, &l.messages, false); err != nil {
				t.Error(err)
			}
			l.wasCalled("sweep", "DEL a eth0 without namespace")
			if !strings.Contains(l.messages.String(), errDamaged.Error()) {
				t.Errorf("messages %q", &l.messages)
			}
			l.nothingLeft("sweep", uuid)
		})
	}
}

// TestSweepUnpinsItsOwnOnly has a record name a namespace that is not the pod's.
func TestSweepUnpinsItsOwnOnly(t *testing.T) {
	l := newLab(t)
	l.network("10-a.conf", pluginConf{Name: "a"})
	other := l.mustSetup("a")
	uuid := poddir.NewUUID()
	st := &state{NetNS: netns.Path(other.String()), Plugins: []string{l.conf}}
	if err := st.write(registryFile(l.data, uuid)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := Sweep(t.Context(), l.data, &l.messages, false); err != nil {
		t.Error(err)
	}
	if !netns.IsPinned(st.NetNS) {
		t.Errorf("the namespace of a pod that is there is gone")
	}
	l.nothingLeft("sweep", uuid)
}

// TestSweepsAndSetupsExclude has neither begin while the other has the lock, and
// a set-up that waits give up when nobody wants it any more.
func TestSweepsAndSetupsExclude(t *testing.T) {
	l := newLab(t)
	l.network("10-a.conf", pluginConf{Name: "a", Hang: true})
	uuid := l.pod()
	if err := os.Mkdir(filepath.Join(l.data, poddir.NetData), 0o755); err != nil {
		t.Fatal(err)
	}
	sweep, err := lock.TryTake(netDir(l.data), lock.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	const while = 50 * time.Millisecond
	try := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), while)
		defer cancel()
		_, err := l.setup(ctx, uuid, "a")
		return err
	}
	if err := try(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	l.wasCalled("a set-up during a sweep")
	l.nothingLeft("a set-up that has given up", uuid)
	// While the sweep calls plugins of pods that are gone it lets set-ups begin.
	if err := sweep.Try(lock.Shared); err != nil {
		t.Fatal(err)
	}
	uuid = l.pod()
	if err := try(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	l.wasCalled("a set-up", "ADD a eth0", "DEL a eth0")
	if err := sweep.Close(); err != nil {
		t.Fatal(err)
	}
}
