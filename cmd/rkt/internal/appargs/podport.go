// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// PodPortFlag is --port of "app sandbox": host ports forwarded to ports of the
// pod, whose apps are not known yet.
type PodPortFlag []appc.ExposedPort

// Set adds one port.
func (f *PodPortFlag) Set(s string) error {
	p, err := ParsePodPort(s)
	if err != nil {
		return err
	}
	*f = append(*f, p)
	return nil
}

func (f *PodPortFlag) String() string {
	words := make([]string, len(*f))
	for i, p := range *f {
		words[i] = formatPodPort(p)
	}
	return strings.Join(words, ",")
}

// Type is what pflag shows as the kind of value.
func (f *PodPortFlag) Type() string { return "portlist" }

// ParsePodPort parses NAME:PROTO:PODPORT:HOSTIP:HOSTPORT, an IPv6 address in
// brackets.
func ParsePodPort(s string) (appc.ExposedPort, error) {
	badFormat := fmt.Errorf("%q is not in name:proto:podPort:hostIP:hostPort format", s)
	words := strings.SplitN(s, ":", 4)
	if len(words) != 4 {
		return appc.ExposedPort{}, badFormat
	}
	name, err := appc.NewName(words[0])
	if err != nil {
		return appc.ExposedPort{}, fmt.Errorf("%q is not a valid port name: %w", words[0], err)
	}
	if words[1] != "tcp" && words[1] != "udp" {
		return appc.ExposedPort{}, fmt.Errorf("%q is not a valid protocol: should be one of \"tcp\", \"udp\"", words[1])
	}
	podPort, err := portNumber(words[2])
	if err != nil {
		return appc.ExposedPort{}, err
	}
	host, port, hasHost, ok := cutHost(words[3])
	if !ok || !hasHost {
		return appc.ExposedPort{}, badFormat
	}
	ip, err := hostIP(host)
	if err != nil {
		return appc.ExposedPort{}, err
	}
	hostPort, err := portNumber(port)
	if err != nil {
		return appc.ExposedPort{}, err
	}
	return appc.ExposedPort{
		Name: name, HostPort: hostPort, HostIP: ip,
		PodPort: &appc.Port{Name: name, Protocol: words[1], Port: podPort, Count: 1},
	}, nil
}

// hostIP parses an address of the host, one of IPv6 with its brackets.
func hostIP(host string) (string, error) {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil || ip.Zone() != "" || ip.Is6() != strings.HasPrefix(host, "[") {
		return "", fmt.Errorf("%q is not a valid IP", host)
	}
	return ip.String(), nil
}

func portNumber(s string) (uint, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("invalid port number %q", s)
	}
	return uint(n), nil
}

func formatPodPort(p appc.ExposedPort) string {
	host := p.HostIP
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%s:%d:%s:%d", p.Name, p.PodPort.Protocol, p.PodPort.Port, host, p.HostPort)
}
