// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/networking/call"
	"github.com/rkt/rkt/v2/networking/hostport"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/podplan"
)

// network is the network of a pod while it is made.
type network struct {
	host  bool   // the host's
	none  bool   // loopback only
	netns string // path of the pinned namespace; empty: the pod makes its own
	ports []podplan.Port
	held  *hostport.Held // ports of the host, as long as this process lives
	call  *call.Call     // nil without networks, and once its answer is known
	got   call.Answer
	// joined tells that the set-up is over. What there is then stays until gc.
	joined bool
}

// parseNet decides what kind of network the pod has.
func (p *pod) parseNet() error {
	items := strings.Split(p.call.Net, ",")
	for _, item := range items {
		name, _, _ := strings.Cut(item, ":")
		p.net.host = p.net.host || name == entrypoint.ModeHost
		p.net.none = p.net.none || name == entrypoint.ModeNone
	}
	if len(items) > 1 && (p.net.host || p.net.none) {
		return errors.New("failed to setup network: the networks host and none go with no other")
	}
	return nil
}

// startNet has the networks set up while the rest of the pod is put together.
func (p *pod) startNet() error {
	n := &p.net
	if n.host {
		return nil
	}
	data, err := os.ReadFile(poddir.NetNS)
	switch {
	case err == nil:
		n.netns = string(data)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case !n.none:
		return errors.New("failed to setup network: there is no network namespace: this stage1 needs a newer rkt")
	}
	if n.none && len(n.ports) > 0 {
		say("warning: no port is forwarded to a pod with --net=none")
		n.ports = nil
	}
	if err := p.holdPorts(); err != nil {
		return fmt.Errorf("failed to setup network: %w", err)
	}
	if n.none {
		say("networking: networking namespace with loopback only")
		return atomicfile.WriteNoSync(poddir.NetInfo, []byte("null"), 0o644)
	}
	dirs := p.vars.ConfigDirs
	if len(dirs) == 0 && p.call.LocalConfig != "" {
		dirs = []string{p.call.LocalConfig}
	}
	lock, err := unix.FcntlInt(uintptr(p.vars.LockFD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	inherited := os.NewFile(uintptr(lock), "lock")
	defer func() { _ = inherited.Close() }()
	n.call, err = call.Start(poddir.Stage1Rootfs, inherited, call.Request{
		UUID: p.call.UUID, Net: p.call.Net, ConfigDirs: dirs, NetNS: n.netns, Ports: p.forwarded(), Debug: p.call.Debug,
	})
	if err != nil {
		return err
	}
	return failpoint.Hit("stage1.net-started")
}

// forwarded are the ports that are forwarded to the pod. Those that rkt has a
// socket for are not.
func (p *pod) forwarded() (list []call.Port) {
	for _, f := range podplan.Forwarded(p.net.ports, p.sockets.sockets) {
		list = append(list, call.Port{Name: f.Name.String(), Proto: f.Proto, HostIP: f.HostIP, HostPort: f.HostPort, PodPort: f.PodPort})
	}
	return list
}

// holdPorts takes the host's ports, so that nobody else gets them unnoticed.
func (p *pod) holdPorts() (err error) {
	var ports []hostport.Port
	for _, f := range p.forwarded() {
		ports = append(ports, hostport.Port{Name: f.Name, Proto: f.Proto, HostIP: f.HostIP, HostPort: f.HostPort, PodPort: f.PodPort})
	}
	if len(ports) > 0 {
		p.net.held, err = hostport.Reserve(ports)
	}
	return err
}

// joinNet waits for the networks, and takes over what they say.
func (p *pod) joinNet() error {
	n := &p.net
	n.joined = true
	if n.call == nil {
		return nil
	}
	c := n.call
	n.call = nil
	var err error
	if n.got, err = c.Wait(); err != nil {
		return err
	}
	if err := failpoint.Hit("stage1.net-joined"); err != nil {
		return err
	}
	if n.held != nil {
		if err := n.held.Complete(); err != nil {
			n.joined = false
			return fmt.Errorf("failed to setup network: %w", err)
		}
		n.held.Serve(n.target)
	}
	if n.got.DNS == nil || p.call.ResolvMode != entrypoint.ModeDefault {
		return nil
	}
	d := n.got.DNS
	text, err := cniResolvConf(d.Network, d.Nameservers, d.Search, d.Options, d.Domain)
	if err != nil {
		return fmt.Errorf("failed to setup network: %w", err)
	}
	return p.asPodRoot(func() error { return p.write(poddir.ResolvConf, text, 0o644) })
}

// releasePorts lets others have the host ports of the pod that has ended. Where
// there is no stage1 out of the pod's reach, that has to wait for gc.
func (p *pod) releasePorts() {
	if !p.net.joined || len(p.forwarded()) == 0 || p.vars.Tree == "" {
		return
	}
	if err := call.Release(p.vars.Tree, p.call.UUID); err != nil {
		say("stage1: %v", err)
	}
}

// target is where a connection goes that no rule has taken away.
func (n *network) target(p hostport.Port, v6 bool) (netip.AddrPort, bool) {
	to := n.got.Pod4
	if v6 && n.got.Pod6.IsValid() || !to.IsValid() {
		to = n.got.Pod6
	}
	return netip.AddrPortFrom(to, p.PodPort), to.IsValid()
}

// dropNet ends the networks of a pod that has failed before it joined them. The
// namespace goes with them, also if the program had not yet begun, or was done:
// then its plugins are told by gc.
func (p *pod) dropNet() {
	n := &p.net
	if n.joined || n.netns == "" {
		return
	}
	if c := n.call; c != nil {
		n.call = nil
		c.Abort()
	}
	// Where ip-netns(8) has mounted its directory on itself, the namespace is
	// pinned twice, and the lower one is out of reach of a namespace that is a
	// slave of the host's. It is gc that removes both.
	if err := netns.Unpin(n.netns); err != nil && !errors.Is(err, unix.EBUSY) {
		say("%v", err)
	}
}

// findMetadata decides where the pod finds the metadata service, if it is
// registered there (spec services.md 1.4). The networks have been joined.
func (p *pod) findMetadata(files mds.Dir) error {
	if p.call.MDSToken == "" {
		return nil
	}
	host := p.net.got.HostIP
	if p.net.host {
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if !host.IsValid() {
		say("warning: the pod is registered with the metadata service, but the network it would use has no gateway on the host")
		return nil
	}
	e, err := files.Endpoint()
	if err != nil {
		return fmt.Errorf("find the metadata service: %w", err)
	}
	p.metadataURL = e.URL(host, p.call.MDSToken)
	return nil
}

// enterNet gives the calling thread the pod's network.
func (p *pod) enterNet() error {
	if p.net.host {
		return nil
	}
	err := error(nil)
	if p.net.netns != "" {
		err = netns.Enter(p.net.netns)
	} else {
		err = netns.Unshare()
	}
	if err != nil {
		return fmt.Errorf("failed to setup network: %w", err)
	}
	return p.allowPorts()
}

// allowPorts lets the apps of a pod with a user namespace bind ports below 1024:
// the network namespace is not that one's, so CAP_NET_BIND_SERVICE does not
// count in it. The ports are the pod's own.
func (p *pod) allowPorts() error {
	if p.users.count == 0 {
		return nil
	}
	err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // before Linux 4.11
		return fmt.Errorf("failed to setup network: %w", err)
	}
	return nil
}
