// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// PortFlag is --port: the host ports forwarded to ports of apps.
type PortFlag []appc.ExposedPort

// Set adds one port: NAME:[HOSTIP:]HOSTPORT, an IPv6 address in brackets.
func (f *PortFlag) Set(s string) error {
	p, err := ParsePort(s)
	if err != nil {
		return err
	}
	*f = append(*f, p)
	return nil
}

// String is how the flag shows its value, ports joined by commas.
func (f *PortFlag) String() string {
	words := make([]string, len(*f))
	for i, p := range *f {
		words[i] = formatPort(p)
	}
	return strings.Join(words, ",")
}

// Type is what pflag shows as the kind of value.
func (f *PortFlag) Type() string { return "portlist" }

// ParsePort parses NAME:[HOSTIP:]HOSTPORT.
func ParsePort(s string) (appc.ExposedPort, error) {
	badFormat := fmt.Errorf("%q is not in name:[ip:]port format", s)
	name, rest, ok := strings.Cut(s, ":")
	if !ok {
		return appc.ExposedPort{}, badFormat
	}
	portName, err := appc.NewName(name)
	if err != nil {
		return appc.ExposedPort{}, fmt.Errorf("%q is not a valid port name: %w", name, err)
	}
	p := appc.ExposedPort{Name: portName}
	host, port, hasHost, ok := cutHost(rest)
	if !ok {
		return appc.ExposedPort{}, badFormat
	}
	if hasHost {
		if p.HostIP, err = hostIP(host); err != nil {
			return appc.ExposedPort{}, err
		}
	}
	if p.HostPort, err = portNumber(port); err != nil {
		return appc.ExposedPort{}, err
	}
	return p, nil
}

// cutHost splits [HOST:]PORT; brackets around a host stay.
func cutHost(s string) (host, port string, hasHost, ok bool) {
	if strings.HasPrefix(s, "[") {
		host, port, ok = strings.Cut(s, "]:")
		return host + "]", port, true, ok && !strings.Contains(port, ":")
	}
	switch strings.Count(s, ":") {
	case 0:
		return "", s, false, true
	case 1:
		host, port, _ = strings.Cut(s, ":")
		return host, port, true, true
	}
	return "", "", false, false
}

func formatPort(p appc.ExposedPort) string {
	s := string(p.Name) + ":"
	switch {
	case strings.Contains(p.HostIP, ":"):
		s += "[" + p.HostIP + "]:"
	case p.HostIP != "":
		s += p.HostIP + ":"
	}
	return s + strconv.FormatUint(uint64(p.HostPort), 10)
}
