// SPDX-License-Identifier: Apache-2.0

package front

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"
)

// Flannel is the shipped plugin that has no upstream program.
const Flannel = "flannel"

// Where a stage1 image has the shipped plugins, and below it the upstream
// programs.
const (
	Dir      = "usr/lib/rkt/plugins/net"
	Upstream = "upstream"
)

// Exec executes plugins. It is an [invoke.Exec].
type Exec struct {
	// Stderr gets what plugins write to theirs; nil discards it.
	Stderr io.Writer
	// Masquerader makes the rules of ipMasq. Without one, ptp and bridge make
	// them as upstream does.
	Masquerader Masquerader
	// FlannelDir is where flannel keeps what it asked its delegate for; empty
	// means /var/lib/cni/flannel. The configuration's dataDir goes first.
	FlannelDir string
	// Proc is where proc is mounted; empty means /proc.
	Proc string
}

var _ invoke.Exec = Exec{}

// UpstreamNames are the shipped plugins that have an upstream program.
func UpstreamNames() []string {
	return []string{
		"bandwidth", "bridge", "dhcp", "firewall", "host-local", "ipvlan",
		"loopback", "macvlan", "portmap", "ptp", "static", "tuning",
	}
}

// IsPlugin tells whether a plugin of that name is shipped.
func IsPlugin(name string) bool {
	return name == Flannel || slices.Contains(UpstreamNames(), name)
}

// ExecPlugin executes a plugin and returns what it wrote to its standard output.
func (e Exec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	if p, ok := findShipped(path); ok {
		return e.call(ctx, p, stdin, environ)
	}
	return e.run(ctx, path, stdin, environ)
}

// FindInPath returns the first of the directories' files of that name.
func (e Exec) FindInPath(plugin string, paths []string) (string, error) {
	return invoke.FindInPath(plugin, paths)
}

// Decode reads the answer of a plugin to VERSION.
func (e Exec) Decode(answer []byte) (version.PluginInfo, error) {
	return new(version.PluginDecoder).Decode(answer)
}

func (e Exec) proc() string {
	if e.Proc == "" {
		return "/proc"
	}
	return e.Proc
}

// call executes a shipped plugin.
func (e Exec) call(ctx context.Context, p shipped, stdin []byte, environ []string) ([]byte, error) {
	env := environment(environ)
	switch env.get(envCommand) {
	case "ADD", "DEL", "CHECK", "STATUS", "GC":
	default:
		if p.name == Flannel {
			return versions()
		}
		return e.run(ctx, p.upstream(), stdin, environ)
	}
	conf, err := parseConf(stdin)
	if err != nil {
		return nil, err
	}
	if p.name == Flannel {
		return e.flannel(ctx, conf, env)
	}
	out, err := e.callUpstream(ctx, p, conf, env)
	return out, reword(err, conf)
}

func (e Exec) callUpstream(ctx context.Context, p shipped, conf object, env environment) ([]byte, error) {
	command := env.get(envCommand)
	about := facts{plugin: p.name, masquerade: e.Masquerader != nil, ipv6: true}
	masquerade := conf.isOurMasquerade(about)
	if command == "ADD" && conf.text("ipv6") == "auto" {
		var err error
		if about.ipv6, err = hasIPv6(e.proc()); err != nil {
			return nil, err
		}
	}
	conf = withPrevResult(p.name, command, conf.normalise(about))
	env, err := upstreamEnv(p.name, conf.ipamType(), env)
	if err != nil {
		return nil, err
	}
	if command == "ADD" {
		if err := e.beforeAdd(p.name, conf, env.get(envNetNS)); err != nil {
			return nil, err
		}
	}
	call := upstreamCall{exec: e, path: p.upstream(), conf: conf, env: env}
	if !masquerade {
		return call.run(ctx, command)
	}
	return call.masqueraded(ctx, command)
}

// beforeAdd refuses what upstream would take for something else, and keeps the
// host's IPv6 routes where the plugin is going to enable forwarding.
func (e Exec) beforeAdd(name string, conf object, netns string) error {
	if err := conf.check(name); err != nil {
		return err
	}
	if !conf.hasIPv6() || !conf.routed(name) {
		return nil
	}
	if name == "ptp" {
		_ = skipDAD(netns) // it would only take longer
	}
	return keepRouterAdvertisements(filepath.Join(e.proc(), "sys"))
}

// upstreamCall is one plugin with what it is called with, whatever the command.
type upstreamCall struct {
	exec Exec
	path string
	conf object
	env  environment
}

func (c upstreamCall) run(ctx context.Context, command string) ([]byte, error) {
	stdin, err := json.Marshal(c.conf)
	if err != nil {
		return nil, err
	}
	return c.exec.run(ctx, c.path, stdin, c.env.with(envCommand, command))
}

// versions is the answer to VERSION of a plugin that speaks all of them.
func versions() ([]byte, error) {
	out, err := json.Marshal(version.All)
	if err != nil {
		return nil, fmt.Errorf("write versions: %w", err)
	}
	return out, nil
}
