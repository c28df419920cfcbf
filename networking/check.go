// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/vishvananda/netlink"

	"github.com/rkt/rkt/v2/networking/firewall"
	"github.com/rkt/rkt/v2/networking/netconf"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Check tells what is missing of the networks of the running pod whose
// directory is the working one, and with repair puts back what can be put
// back: rules of the firewall, which a reload of the host's takes away.
func Check(ctx context.Context, uuid poddir.UUID, stderr io.Writer, debug, repair bool) (entrypoint.NetReport, error) {
	var report entrypoint.NetReport
	infos, err := netinfo.Read(poddir.NetInfo)
	if errors.Is(err, fs.ErrNotExist) {
		return report, nil
	}
	if err != nil {
		return report, err
	}
	st, err := readState(poddir.NetState)
	if err != nil {
		return report, err
	}
	data, err := dataDir()
	if err != nil {
		return report, err
	}
	d := newDriver(uuid, data, st.Plugins, st.NetNS, messages{stderr, debug})
	c := checker{driver: d, repair: repair, rules: st.Rules}
	for i := range infos {
		n, err := c.network(ctx, attachment{Network: &infos[i]})
		if err != nil {
			return report, err
		}
		report.Networks = append(report.Networks, n)
	}
	if len(st.Rules.Forwards) > 0 {
		n, err := c.forwards()
		if err != nil {
			return report, err
		}
		report.Networks = append(report.Networks, n)
	}
	return report, nil
}

type checker struct {
	*driver
	repair bool
	rules  firewall.Pod // that the pod has
}

func (c *checker) forwards() (s entrypoint.NetState, err error) {
	err = c.putBack(firewall.Pod{ID: c.rules.ID, Forwards: c.rules.Forwards}, &s)
	return s, err
}

// masquerades are the rules of one network.
func (c *checker) masquerades(network string) firewall.Pod {
	pod := firewall.Pod{ID: c.rules.ID}
	for _, m := range c.rules.Masquerades {
		if m.Network == network {
			pod.Masquerades = append(pod.Masquerades, m)
		}
	}
	return pod
}

// putBack compares rules with what is in force.
func (c *checker) putBack(rules firewall.Pod, s *entrypoint.NetState) error {
	missing, err := c.driver.rules.Missing(rules)
	if err != nil || len(missing) == 0 {
		return err
	}
	if !c.repair {
		s.Missing = append(s.Missing, missing...)
		return nil
	}
	if err := c.driver.rules.Add(rules); err != nil {
		return err
	}
	s.Repaired = append(s.Repaired, missing...)
	return nil
}

func (c *checker) network(ctx context.Context, a attachment) (s entrypoint.NetState, err error) {
	s = entrypoint.NetState{Name: a.Name, IfName: a.IfName}
	n, err := a.load()
	if err != nil {
		return s, err
	}
	if n == nil {
		s.Missing = append(s.Missing, "the pod's copy of the configuration "+a.ConfPath)
		return s, nil
	}
	if err := c.link(a, &s); err != nil {
		return s, err
	}
	if rules := c.masquerades(n.Name); len(rules.Masquerades) > 0 {
		if err := c.putBack(rules, &s); err != nil {
			return s, err
		}
	}
	if len(s.Missing) > 0 {
		return s, nil // plugins would say the same again
	}
	err = c.plugins(ctx, n, a, &s)
	return s, err
}

// link looks for the pod's interface and its addresses.
func (c *checker) link(a attachment, s *entrypoint.NetState) error {
	if len(a.IPs) == 0 && a.IP == "" {
		return nil // no interface, as with tuning
	}
	if !netns.IsPinned(c.netns) {
		s.Missing = append(s.Missing, "the network namespace "+c.netns)
		return nil
	}
	return netns.In(c.netns, func() error {
		l, err := netlink.LinkByName(a.IfName)
		var none netlink.LinkNotFoundError
		if errors.As(err, &none) {
			s.Missing = append(s.Missing, "the interface "+a.IfName)
			return nil
		}
		if err != nil {
			return err
		}
		addrs, err := addresses(l, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, want := range a.IPs {
			if !slices.ContainsFunc(addrs, func(x netlink.Addr) bool { return x.IPNet.String() == want }) {
				s.Missing = append(s.Missing, fmt.Sprintf("the address %s of %s", want, a.IfName))
			}
		}
		return nil
	})
}

// repairable are the plugins that set rules only: their ADD may be repeated.
func repairable(name string) bool {
	return name == "portmap" || name == "firewall"
}

// plugins asks the plugins themselves (CNI CHECK).
func (c *checker) plugins(ctx context.Context, n *netconf.Network, a attachment, s *entrypoint.NetState) error {
	if ok, err := version.GreaterThanOrEqualTo(n.CNIVersion, "0.4.0"); err != nil || !ok {
		return nil
	}
	list, err := n.ConfList()
	if err != nil || list.DisableCheck {
		return err
	}
	if ok, err := version.GreaterThanOrEqualTo(n.CNIVersion, "1.1.0"); err == nil && ok {
		if err := c.cni.GetStatusNetworkList(ctx, list); err != nil {
			s.Missing = append(s.Missing, "a plugin that is ready: "+plainError(err).Error())
			return nil
		}
	}
	rt, err := c.runtimeConf(a.IfName, a.Args)
	if err != nil {
		return err
	}
	if _, cached, err := c.cni.GetNetworkListCachedConfig(list, rt); err == nil && cached != nil {
		rt.CapabilityArgs = cached.CapabilityArgs
	}
	err = c.cni.CheckNetworkList(ctx, list, rt)
	if err == nil {
		return nil
	}
	if c.repair {
		again, repairErr := c.repeat(ctx, n, a)
		if repairErr != nil {
			return repairErr
		}
		if len(again) > 0 && c.cni.CheckNetworkList(ctx, list, rt) == nil {
			s.Repaired = append(s.Repaired, again...)
			return nil
		}
	}
	s.Missing = append(s.Missing, plainError(err).Error())
	return nil
}

// repeat calls ADD of the plugins of a chain that may be called again.
func (c *checker) repeat(ctx context.Context, n *netconf.Network, a attachment) (done []string, err error) {
	list, err := n.ConfList()
	if err != nil {
		return nil, err
	}
	rt, err := c.runtimeConf(a.IfName, a.Args)
	if err != nil {
		return nil, err
	}
	result, err := c.cni.GetNetworkListCachedResult(list, rt)
	if err != nil || result == nil {
		return nil, err
	}
	_, cached, err := c.cni.GetNetworkListCachedConfig(list, rt)
	if err != nil {
		return nil, err
	}
	for _, p := range list.Plugins {
		if !repairable(p.Network.Type) {
			continue
		}
		var capabilities map[string]any
		if cached != nil {
			capabilities = cached.CapabilityArgs
		}
		conf, err := chained(p, list, capabilities, result)
		if err != nil {
			return done, err
		}
		path, err := c.find(p.Network.Type)
		if err != nil {
			return done, err
		}
		if _, err := invoke.ExecPluginWithResult(ctx, path, conf, c.args("ADD", a.IfName, a.Args), c.exec); err != nil {
			return done, plainError(err)
		}
		done = append(done, "what the plugin "+p.Network.Type+" sets")
	}
	return done, nil
}
