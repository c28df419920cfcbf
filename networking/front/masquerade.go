// SPDX-License-Identifier: Apache-2.0

package front

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"

	"github.com/rkt/rkt/v2/networking/firewall"
)

// Masquerader makes the traffic of a pod's network leave with the host's
// addresses. It is a part of [firewall.Backend].
type Masquerader interface {
	// Add masquerades addresses of a pod; what is in force stays.
	Add(firewall.Pod) error
	// RemoveNetwork ends all masquerading of a network of the pod; none is fine.
	RemoveNetwork(id, network string) error
	// Missing says in words what of an Add is not in force.
	Missing(firewall.Pod) ([]string, error)
}

// hostRules are the rules of the host, opened when they are needed.
type hostRules struct{}

func (hostRules) Add(p firewall.Pod) error {
	b, err := firewall.Open()
	if err != nil {
		return err
	}
	return b.Add(p)
}

func (hostRules) RemoveNetwork(id, network string) error {
	b, err := firewall.Open()
	if err != nil {
		return err
	}
	return b.RemoveNetwork(id, network)
}

func (hostRules) Missing(p firewall.Pod) ([]string, error) {
	b, err := firewall.Open()
	if err != nil {
		return nil, err
	}
	return b.Missing(p)
}

// masqueraded runs a plugin whose masquerading is ours.
func (c upstreamCall) masqueraded(ctx context.Context, command string) ([]byte, error) {
	m, id, network := c.exec.Masquerader, c.env.get(envContainerID), c.conf.text("name")
	out, err := c.run(ctx, command)
	switch command {
	case "ADD":
		if err != nil {
			return nil, err
		}
		if err := addMasquerade(m, id, network, out); err != nil {
			_, undo := c.run(context.WithoutCancel(ctx), "DEL")
			return nil, errors.Join(err, undo)
		}
	case "DEL":
		if remove := m.RemoveNetwork(id, network); remove != nil {
			err = errors.Join(err, fmt.Errorf("stop masquerading network %s: %w", network, remove))
		}
	case "CHECK":
		if err != nil {
			return nil, err
		}
		return out, checkMasquerade(m, id, network, c.conf["prevResult"])
	}
	return out, err
}

func addMasquerade(m Masquerader, id, network string, result []byte) error {
	pod, err := podOf(id, network, result)
	if err != nil {
		return err
	}
	if err := m.Add(pod); err != nil {
		return errors.Join(fmt.Errorf("masquerade network %s: %w", network, err), m.RemoveNetwork(id, network))
	}
	return nil
}

func checkMasquerade(m Masquerader, id, network string, result []byte) error {
	pod, err := podOf(id, network, result)
	if err != nil {
		return err
	}
	missing, err := m.Missing(pod)
	if err != nil {
		return fmt.Errorf("check masquerading of network %s: %w", network, err)
	}
	if len(missing) > 0 {
		return fmt.Errorf("network %s is not masqueraded, missing: %s", network, strings.Join(missing, ", "))
	}
	return nil
}

// podOf is what is to be masqueraded by the result of an ADD.
func podOf(id, network string, result []byte) (firewall.Pod, error) {
	addrs, err := addresses(result)
	pod := firewall.Pod{ID: id}
	for _, a := range addrs {
		pod.Masquerades = append(pod.Masquerades, firewall.Masquerade{Network: network, Addr: a})
	}
	return pod, err
}

// addresses are those of a result of any version.
func addresses(result []byte) ([]netip.Prefix, error) {
	parsed, err := create.CreateFromBytes(result)
	if err != nil {
		return nil, fmt.Errorf("read result of plugin: %w", err)
	}
	current, err := types100.NewResultFromResult(parsed)
	if err != nil {
		return nil, fmt.Errorf("read result of plugin: %w", err)
	}
	var addrs []netip.Prefix
	for _, ip := range current.IPs {
		a, ok := netip.AddrFromSlice(ip.Address.IP)
		ones, bits := ip.Address.Mask.Size()
		if !ok || bits == 0 {
			return nil, fmt.Errorf("plugin returned the address %s", ip.Address.String())
		}
		addrs = append(addrs, netip.PrefixFrom(a.Unmap(), ones))
	}
	return addrs, nil
}

// Masquerades tells whether ptp or bridge, called with this configuration or as
// a plugin of this list, has its masquerading made by us. What flannel asks of
// its delegate is not known from its configuration.
func Masquerades(conf []byte) bool {
	o, err := parseConf(conf)
	if err != nil {
		return false
	}
	for _, plugin := range append(o.list("plugins"), encode(o)) {
		p, err := parseConf(plugin)
		if err == nil && p.isOurMasquerade(facts{plugin: p.text("type"), masquerade: true}) {
			return true
		}
	}
	return false
}
