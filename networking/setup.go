// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/rkt/rkt/v2/networking/call"
	"github.com/rkt/rkt/v2/networking/firewall"
	"github.com/rkt/rkt/v2/networking/netconf"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Directories of configurations and plugins that are not in a configuration
// directory.
const (
	builtinConf = poddir.Stage1Rootfs + "/etc/rkt/net.d"
	cniConf     = "/etc/cni/net.d"
	cniPlugins  = "/opt/cni/bin"
	hostPlugins = "/usr/lib/rkt/plugins/net"
	ownPlugins  = poddir.Stage1Rootfs + "/usr/lib/rkt/plugins/net" // relative, as third parties know it
	confDir     = "net.d"
)

// Setup gives the pod whose directory is the working one its networks. What it
// has done when it fails, it takes back. Lines for the person go to stderr.
func Setup(ctx context.Context, r call.Request, stderr io.Writer) (call.Answer, error) {
	s := &setup{Request: r, messages: messages{stderr, r.Debug}}
	if err := s.choose(); err != nil {
		return call.Answer{}, errors.Join(err, netns.Unpin(s.NetNS))
	}
	held, err := s.open(ctx)
	if err != nil {
		return call.Answer{}, errors.Join(err, netns.Unpin(s.NetNS))
	}
	defer func() { _ = held.Close() }()
	if err := s.record(); err != nil {
		return call.Answer{}, errors.Join(err, s.rollBack(ctx))
	}
	a, err := s.connect(ctx)
	if err == nil {
		err = ctx.Err() // nobody wants it any more
	}
	if err != nil {
		return call.Answer{}, errors.Join(err, s.rollBack(ctx))
	}
	return a, nil
}

// messages are lines for the person.
type messages struct {
	w     io.Writer
	debug bool
}

func (m messages) say(format string, args ...any) {
	_, _ = fmt.Fprintf(m.w, "networking: "+format+"\n", args...)
}

func (m messages) trace(format string, args ...any) {
	if m.debug {
		m.say(format, args...)
	}
}

type setup struct {
	call.Request
	messages
	*driver
	selected []netconf.Network
	infos    []netinfo.Network
	results  []*types100.Result
	// forwarded are the forwarded ports as rules of our own.
	forwarded []firewall.Forward
	port      int // index of the network that ports are forwarded to, -1 without ports
}

// choose loads the configurations and selects those that the pod is to have.
func (s *setup) choose() error {
	req, err := netconf.ParseRequest(s.Net)
	if err != nil {
		return err
	}
	dirs := []netconf.Dir{{Path: cniConf, Kind: netconf.CNI}, {Path: builtinConf, Kind: netconf.Builtin}}
	for _, d := range s.ConfigDirs {
		dirs = append(dirs, netconf.Dir{Path: filepath.Join(d, confDir), Kind: netconf.User})
	}
	if req.IsNone() {
		s.say("networking namespace with loopback only")
		return nil
	}
	for _, d := range dirs {
		s.trace("loading networks from %s", d.Path)
	}
	set := netconf.Load(dirs)
	if s.selected, err = set.Select(req); err != nil {
		return fmt.Errorf("error loading network definitions: %w", err)
	}
	for _, line := range set.MessagesAbout(s.selected) {
		s.say("%s", line)
	}
	for _, n := range s.selected {
		s.trace("loading network %s with type %s", n.Name, n.Types[0])
	}
	return nil
}

// open makes ready what calls plugins, and keeps sweeps away.
func (s *setup) open(ctx context.Context) (*lock.Lock, error) {
	data, err := dataDir()
	if err != nil {
		return nil, err
	}
	s.driver = newDriver(s.UUID, data, s.pluginDirs(), s.NetNS, s.messages)
	if err := os.MkdirAll(filepath.Join(data, poddir.NetPods), 0o750); err != nil {
		return nil, err
	}
	return lock.Take(ctx, netDir(data), lock.Shared)
}

// pluginDirs is the search path of plugins. Its first three are those of rkt
// 1.30 for networks of rkt's own directories.
func (s *setup) pluginDirs() []string {
	var dirs []string
	for i, d := range slices.Backward(s.ConfigDirs) {
		dir := filepath.Join(d, confDir)
		if st, err := os.Stat(dir); i < len(s.ConfigDirs)-1 && (err != nil || !st.IsDir()) {
			continue // 1.30 has but the last one
		}
		dirs = append(dirs, dir)
	}
	dirs = append(dirs, hostPlugins, ownPlugins)
	if slices.ContainsFunc(s.selected, func(n netconf.Network) bool { return n.Kind == netconf.CNI }) {
		dirs = append(dirs, cniPlugins)
	}
	return dirs
}

// record writes down what is about to be done: whatever happens from here on,
// teardown finds it.
func (s *setup) record() error {
	if len(s.selected) == 0 {
		return writeInfo(nil)
	}
	if err := os.Mkdir(poddir.Net, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for i := range s.selected {
		info, err := s.plan(i)
		if err != nil {
			return err
		}
		s.infos = append(s.infos, info)
	}
	st := s.state()
	if err := st.write(poddir.NetState); err != nil {
		return err
	}
	if err := writeInfo(s.infos); err != nil {
		return err
	}
	if err := failpoint.Hit("net.recorded"); err != nil {
		return err
	}
	st.Tree, st.Nets = stage1Tree(), s.infos
	for i := range s.selected {
		st.Confs = append(st.Confs, s.selected[i].Bytes)
	}
	if err := st.write(registryFile(s.data, s.UUID)); err != nil {
		return err
	}
	return failpoint.Hit("net.registered")
}

func (s *setup) state() *state {
	rules := firewall.Pod{ID: s.UUID.String(), Masquerades: s.masquerades, Forwards: s.forwarded}
	return &state{NetNS: s.NetNS, Plugins: s.plugins, Ports: s.Ports, Rules: rules}
}

// plan is the record of network i before it exists.
func (s *setup) plan(i int) (netinfo.Network, error) {
	n := &s.selected[i]
	plugin, err := s.find(n.Types[0])
	if err != nil {
		return netinfo.Network{}, fmt.Errorf("error adding network %q: %w", n.Name, err)
	}
	if _, err := cniArgs(n.Args); err != nil { // before there is a record that nobody could use
		return netinfo.Network{}, fmt.Errorf("error adding network %q: %w", n.Name, err)
	}
	conf := filepath.Join(poddir.Net, n.RecordName)
	if err := atomicfile.WriteNoSync(conf, n.Bytes, 0o644); err != nil {
		return netinfo.Network{}, err
	}
	if err := failpoint.Hit("net.conf-copied"); err != nil {
		return netinfo.Network{}, err
	}
	return netinfo.Network{
		Name: n.Name, ConfPath: conf, PluginPath: plugin, IfName: fmt.Sprintf("eth%d", i), Args: n.Args, CNIVersion: n.CNIVersion,
	}, nil
}

// connect adds the pod to every network and forwards the ports.
func (s *setup) connect(ctx context.Context) (a call.Answer, err error) {
	if err := s.choosePortNetwork(); err != nil {
		return a, err
	}
	for i := range s.selected {
		if err := s.add(ctx, i); err != nil {
			return a, fmt.Errorf("error adding network %q: %w", s.selected[i].Name, err)
		}
		s.offerDNS(&a, i)
	}
	if err := s.describe(&a); err != nil {
		return a, err
	}
	if len(s.masquerades) > 0 {
		if err := s.state().write(poddir.NetState); err != nil {
			return a, err
		}
	}
	if err := writeInfo(s.infos); err != nil {
		return a, err
	}
	return a, failpoint.Hit("net.connected")
}

// choosePortNetwork chooses the network whose addresses ports are forwarded to:
// the first one with masquerading, else the last one (spec networking.md 9.2).
func (s *setup) choosePortNetwork() error {
	s.port = slices.IndexFunc(s.selected, func(n netconf.Network) bool { return n.IPMasq })
	if s.port < 0 {
		s.port = len(s.selected) - 1
	}
	if s.port < 0 && len(s.Ports) > 0 {
		return errors.New("cannot forward ports: no networks found")
	}
	return nil
}

// pluginForwards tells whether a plugin of the chain forwards the ports.
func (s *setup) pluginForwards() bool {
	return s.port >= 0 && len(s.Ports) > 0 && s.selected[s.port].Capabilities["portMappings"]
}

// portMapping is one entry of the capability portMappings (CNI conventions).
type portMapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP,omitempty"`
}

func (s *setup) add(ctx context.Context, i int) error {
	n, info := &s.selected[i], &s.infos[i]
	capabilities, err := capabilityArgs(n.Args)
	if err != nil {
		return err
	}
	if i == s.port && s.pluginForwards() {
		var list []portMapping
		for _, p := range s.Ports {
			m := portMapping{HostPort: int(p.HostPort), ContainerPort: int(p.PodPort), Protocol: p.Proto}
			if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
				m.HostIP = p.HostIP.String()
			}
			list = append(list, m)
		}
		capabilities["portMappings"] = list
	}
	result, err := s.driver.add(ctx, n, info.IfName, capabilities)
	if err != nil {
		return err
	}
	if err := failpoint.Hit("net.added"); err != nil {
		return err
	}
	s.results = append(s.results, result)
	if err := s.finish(n, info.IfName, result); err != nil {
		return err
	}
	return fill(info, result)
}

// fill completes the record of a network with what its plugin has answered.
func fill(info *netinfo.Network, r *types100.Result) error {
	var err error
	if info.Result, err = marshalResult(r); err != nil {
		return err
	}
	for _, ip := range r.IPs {
		info.IPs = append(info.IPs, ip.Address.String())
		if info.IP == "" && ip.Address.IP.To4() != nil {
			info.IP, info.Mask = ip.Address.IP.String(), net.IP(ip.Address.Mask).String()
			if ip.Gateway != nil {
				info.Gateway = ip.Gateway.String()
			}
		}
	}
	for _, i := range r.Interfaces {
		if i.Sandbox != "" && i.Name == info.IfName {
			info.MAC, info.MTU = i.Mac, i.Mtu
		}
	}
	return nil
}

// offerDNS takes over the resolver configuration of a network unless an
// earlier one has given one.
func (s *setup) offerDNS(a *call.Answer, i int) {
	d := s.results[i].DNS
	if isEmpty(d) {
		return
	}
	name := s.selected[i].Name
	if a.DNS != nil {
		s.say("Warning: network %v plugin specified DNS configuration, but DNS already supplied", name)
		return
	}
	a.DNS = &call.DNS{Network: name, Nameservers: d.Nameservers, Domain: d.Domain, Search: d.Search, Options: d.Options}
}

func isEmpty(d types.DNS) bool {
	return len(d.Nameservers) == 0 && len(d.Search) == 0 && len(d.Options) == 0 && d.Domain == ""
}

// describe finds the pod's addresses on the network that ports are forwarded
// to, and forwards them.
func (s *setup) describe(a *call.Answer) error {
	if s.port < 0 {
		return nil
	}
	pod := firewall.Pod{ID: s.UUID.String()}
	var subnets []netip.Prefix
	for _, ip := range s.results[s.port].IPs {
		p, ok := prefix(ip.Address)
		if !ok {
			continue
		}
		gateway, _ := netip.AddrFromSlice(ip.Gateway)
		gateway = gateway.Unmap()
		first := p.Addr().Is4() && !a.Pod4.IsValid() || p.Addr().Is6() && !a.Pod6.IsValid()
		if !first {
			continue
		}
		if p.Addr().Is4() {
			a.Pod4 = p.Addr()
		} else {
			a.Pod6 = p.Addr()
		}
		if !a.HostIP.IsValid() && gateway.IsValid() {
			a.HostIP = gateway
		}
		subnets = append(subnets, p)
	}
	if len(s.Ports) == 0 || s.pluginForwards() {
		return nil
	}
	for _, p := range s.Ports {
		pod.Forwards = append(pod.Forwards, forwards(p, subnets)...)
	}
	return s.forward(pod, a)
}

// forwards are the rules of a port: one for each address family it is meant for.
func forwards(p call.Port, subnets []netip.Prefix) (list []firewall.Forward) {
	for _, n := range subnets {
		if p.HostIP.IsValid() && p.HostIP.Is4() != n.Addr().Is4() {
			continue
		}
		list = append(list, firewall.Forward{
			Name: p.Name, Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort, PodPort: p.PodPort, To: n.Addr(), Subnet: n.Masked(),
		})
	}
	return list
}

func (s *setup) forward(pod firewall.Pod, a *call.Answer) error {
	if len(pod.Forwards) == 0 {
		return fmt.Errorf("cannot forward ports: network %q gives the pod no address of their kind", s.selected[s.port].Name)
	}
	if a.Pod4.IsValid() {
		dev, err := deviceTowards(a.Pod4, a.HostIP)
		if err != nil {
			return err
		}
		if err := firewall.RouteLocalnet(dev); err != nil {
			return err
		}
	}
	s.forwarded = pod.Forwards
	if err := setHairpin(s.results[s.port]); err != nil {
		return err
	}
	if err := s.state().write(poddir.NetState); err != nil {
		return err
	}
	if err := s.rules.Add(pod); err != nil {
		return fmt.Errorf("forward ports: %w", err)
	}
	s.warn()
	return failpoint.Hit("net.ports-forwarded")
}

// warn passes on what the firewall could not do.
func (s *setup) warn() {
	for _, w := range s.rules.Warnings() {
		s.say("warning: %s", w)
	}
}

// rollBack takes back what was done so far, and the namespace with it.
func (s *setup) rollBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), delPatience)
	defer cancel()
	err := s.tearDown(ctx, attachments(s.infos))
	return errors.Join(err, netns.Unpin(s.NetNS))
}

func prefix(n net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, ones), true
}

// capabilityArgs are the arguments that CNI passes as capabilities. Arguments
// of --net go into CNI_ARGS as they are; of them, MAC and IP also count for
// plugins that declare the capabilities mac and ips.
func capabilityArgs(args string) (map[string]any, error) {
	pairs, err := cniArgs(args)
	if err != nil {
		return nil, err
	}
	m := map[string]any{}
	for _, kv := range pairs {
		switch kv[0] {
		case "MAC":
			m["mac"] = kv[1]
		case "IP":
			m["ips"] = []string{kv[1]}
		}
	}
	return m, nil
}
