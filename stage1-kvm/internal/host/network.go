// SPDX-License-Identifier: Apache-2.0

package host

import (
	"encoding/json"
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
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/podplan"
)

// network is the network of the pod. Plugins work in the pod's network
// namespace on the host, as for every pod; what they make there is joined with
// the machine's cards (tap.go).
type network struct {
	none   bool
	netns  string // path of the pinned namespace
	ports  []podplan.Port
	held   *hostport.Held
	call   *call.Call
	got    call.Answer
	joined bool
	cards  []card
}

// startNet has the networks set up while the rest of the pod is put together.
func (p *pod) startNet() error {
	n := &p.net
	data, err := os.ReadFile(poddir.NetNS)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("failed to setup network: there is no network namespace: this stage1 needs a newer rkt")
	}
	if err != nil {
		return err
	}
	n.netns = string(data)
	if err := p.parseNone(); err != nil {
		return err
	}
	if n.none && len(n.ports) > 0 {
		say("warning: no port is forwarded to a pod with --net=none")
		n.ports = nil
	}
	if err := p.holdPorts(); err != nil {
		return fmt.Errorf("failed to setup network: %w", err)
	}
	if n.none {
		return atomicfile.WriteNoSync(poddir.NetInfo, []byte("null"), 0o644)
	}
	dirs := p.vars.ConfigDirs
	if len(dirs) == 0 && p.call.LocalConfig != "" {
		dirs = []string{p.call.LocalConfig}
	}
	lock, err := unix.FcntlInt(p.lock.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	inherited := os.NewFile(uintptr(lock), "lock")
	defer func() { _ = inherited.Close() }()
	n.call, err = call.Start(poddir.Stage1Rootfs, inherited, call.Request{
		UUID: p.call.UUID, Net: p.call.Net, ConfigDirs: dirs, NetNS: n.netns, Ports: p.forwarded(), Debug: p.call.Debug,
	})
	return err
}

func (p *pod) parseNone() error {
	items := strings.Split(p.call.Net, ",")
	for _, item := range items {
		name, _, _ := strings.Cut(item, ":")
		p.net.none = p.net.none || name == entrypoint.ModeNone
	}
	if len(items) > 1 && p.net.none {
		return errors.New("failed to setup network: the networks host and none go with no other")
	}
	return nil
}

// forwarded are the ports that are forwarded to the pod.
func (p *pod) forwarded() (list []call.Port) {
	for _, f := range podplan.Forwarded(p.net.ports, nil) {
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

// joinNet waits for the networks and joins the machine's cards with them.
func (p *pod) joinNet() error {
	n := &p.net
	if c := n.call; c != nil {
		n.call = nil
		var err error
		if n.got, err = c.Wait(); err != nil {
			return err
		}
	}
	if err := netns.In(n.netns, n.makeCards); err != nil {
		return fmt.Errorf("failed to setup network: %w", err)
	}
	if n.held != nil {
		if err := n.held.Complete(); err != nil {
			return fmt.Errorf("failed to setup network: %w", err)
		}
		n.held.Serve(n.target)
	}
	n.joined = true
	return nil
}

// target is where a connection goes that no rule has taken away.
func (n *network) target(p hostport.Port, v6 bool) (netip.AddrPort, bool) {
	to := n.got.Pod4
	if v6 && n.got.Pod6.IsValid() || !to.IsValid() {
		to = n.got.Pod6
	}
	return netip.AddrPortFrom(to, p.PodPort), to.IsValid()
}

// answer is what the guest's supervisor gets for its own set-up.
func (n *network) answer() (json.RawMessage, error) { return json.Marshal(n.got) }

// dropNet ends the networks of a pod that has failed before it joined them.
func (p *pod) dropNet() {
	n := &p.net
	if n.joined || n.netns == "" {
		return
	}
	if c := n.call; c != nil {
		n.call = nil
		c.Abort()
	}
	if err := netns.Unpin(n.netns); err != nil {
		say("%v", err)
	}
}

// releasePorts lets others have the host ports of the pod that has ended.
func (p *pod) releasePorts() {
	if !p.net.joined || len(p.forwarded()) == 0 || p.vars.Tree == "" {
		return
	}
	if err := call.Release(p.vars.Tree, p.call.UUID); err != nil {
		say("stage1: %v", err)
	}
}
