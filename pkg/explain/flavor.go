// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/podplan"
)

// flavor is what a kind of stage1 does with a plan. All that the report says of
// one flavor and not of another is here.
type flavor struct {
	name string
	// mark is an annotation of this rkt's images of the flavor: an image of the
	// same name without it is another program.
	mark appc.Identifier

	// contained: what an app does not ask for it does not get: capabilities,
	// system calls, devices, kernel files, namespaces of the host.
	contained bool
	oneApp    bool
	userNS    bool
	hostName  bool // can set one
	sysctls   bool
	postStop  bool
	terminals bool // stream modes tty and stream
	// shared: the pod and its app are in one cgroup, so the tighter limit counts.
	shared bool
	// recursive is what a host volume is that does not say.
	recursive bool
	system    func(*builder, *podplan.App) []Mount
}

// imagePrefix begins the names of stage1 images.
const imagePrefix = "coreos.com/rkt/stage1-"

func flavors() []flavor {
	nspawn := flavor{
		mark: entrypoint.AnnotationLogs, contained: true, userNS: true, hostName: true, sysctls: true, postStop: true, terminals: true,
		recursive: true, system: podMounts,
	}
	coreos, host := nspawn, nspawn
	coreos.name, host.name = "coreos", "host"
	fly := flavor{name: "fly", mark: entrypoint.AnnotationGCNeeds, oneApp: true, shared: true, system: flyMounts}
	return []flavor{coreos, host, fly}
}

// findFlavor returns the flavor of a stage1 image, and whether it is known what
// the image does. Of an unknown one the report says what it is asked for.
func findFlavor(in Stage1Input) (flavor, bool) {
	name := in.Flavor
	if name == "" {
		name, _ = strings.CutPrefix(in.Manifest.Name.String(), imagePrefix)
	}
	all := flavors()
	i := slices.IndexFunc(all, func(f flavor) bool { return f.name == name })
	if i < 0 {
		f := all[0]
		f.name = in.Flavor
		return f, false
	}
	_, ours := in.Manifest.Annotations.Get(string(all[i].mark))
	return all[i], ours
}

// takes are capabilities that the flavor takes from every app. The network of a
// pod belongs to the host's user namespace: with one of its own, its root may
// not bind low ports, and systemd-nspawn says so by taking the capability.
func (f *flavor) takes(in *Input) caps.Set {
	if f.contained && in.PrivateUsers {
		return 1 << unix.CAP_NET_BIND_SERVICE
	}
	return 0
}

// options are those that the flavor makes its plan with.
func (f *flavor) options(in *Input) podplan.Options {
	c := in.Call
	net := netModes(c.Net)
	return podplan.Options{
		DisableCapabilities: c.DisableCapabilities,
		DisablePaths:        c.DisablePaths,
		DisableSeccomp:      c.DisableSeccomp,
		Interactive:         c.Interactive,
		Recursive:           f.recursive,
		OwnNet:              !f.sysctls || !in.NetKnown || !slices.Contains(net, entrypoint.ModeHost),
		OwnIPC:              !f.sysctls || c.IPC != ipcParent,
	}
}

// Values of --ipc.
const (
	ipcParent  = "parent"
	ipcPrivate = "private"
)

// netModes are the names in a list of networks.
func netModes(list string) []string {
	var names []string
	for item := range strings.SplitSeq(list, ",") {
		name, _, _ := strings.Cut(item, ":")
		if name == "" {
			name = entrypoint.ModeDefault
		}
		names = append(names, name)
	}
	return names
}

// namespaces says which namespaces the flavor gives.
func (f *flavor) namespaces(b *builder) []Namespace {
	c := b.in.Call
	ipc := f.contained && c.IPC != ipcParent || c.IPC == ipcPrivate
	net := b.r.Network.Gives
	own := func(name, of string, on bool, o Origin) Namespace {
		return Namespace{Name: name, Own: &on, Of: of, Origin: o}
	}
	mount := "app"
	if f.contained && c.DisablePaths {
		mount = "pod"
	}
	all := []Namespace{
		own("mount", mount, true, FromStage1),
		own("pid", "pod", f.contained, FromStage1),
		own("ipc", "pod", ipc, orStage1(c.IPC != "" && c.IPC != "auto", FromUser)),
		own("network", "pod", net == NetLoopback || net == NetNetworks, b.r.Network.Origin),
		own("uts", "pod", f.contained, FromStage1),
		own("user", "pod", b.in.PrivateUsers, orDefault(b.in.PrivateUsers)),
		own("cgroup", "pod", f.contained, FromStage1),
	}
	for i := range all {
		n := &all[i]
		if n.Name == "network" && net == NetUnknown || n.Name == "ipc" && !b.in.Started {
			n.Own, n.Origin = nil, FromUnknown
		}
	}
	return all
}

func orStage1(on bool, o Origin) Origin {
	if on {
		return o
	}
	return FromStage1
}

// network says what the flavor makes of a list of networks.
func (f *flavor) network(b *builder) Network {
	n := Network{Interfaces: list(b.in.Interfaces), Ports: b.ports()}
	if !b.in.NetKnown {
		n.Gives, n.Origin, n.Detail = NetUnknown, FromUnknown, "the list of --net is not recorded"
		if b.in.State == statePrepared {
			n.Detail = "decided by the --net of \"rkt run-prepared\""
		}
		return n
	}
	n.Asked = b.in.Call.Net
	modes := netModes(n.Asked)
	n.Origin = FromUser
	if slices.Equal(modes, []string{entrypoint.ModeDefault}) {
		n.Origin = FromDefault
	}
	f.chooseNet(b, &n, modes)
	return n
}

func (f *flavor) chooseNet(b *builder, n *Network, modes []string) {
	none, host := slices.Contains(modes, entrypoint.ModeNone), slices.Contains(modes, entrypoint.ModeHost)
	switch {
	case f.contained && (host || none) && len(modes) > 1:
		n.Gives, n.Detail = NetUnknown, "contradiction"
		b.refuse("the networks host and none go with no other")
	case none:
		n.Gives, n.Detail = NetLoopback, "a network of its own with the loopback interface only"
	case f.contained && !host:
		n.Gives, n.Detail = NetNetworks, "a network of its own, joined to "+strings.Join(modes, ", ")
	case host:
		n.Gives, n.Detail = NetHost, "the network of the host, all of it"
	case slices.Equal(modes, []string{entrypoint.ModeDefault}):
		n.Gives, n.Detail = NetHost, "the network of the host: this flavor has no other"
	default:
		n.Gives, n.Detail = NetUnknown, "not a network of this flavor"
		b.refuse("the %s flavor has the network of the host, or none", f.name)
	}
}

// refusals are what the flavor refuses to start.
func (f *flavor) refusals(b *builder) {
	in := b.in
	if f.oneApp && len(b.plan.Apps) > 1 {
		b.refuse("the %s flavor runs one app in a pod", f.name)
	}
	if !f.userNS && in.PrivateUsers {
		b.refuse("the %s flavor does not support user namespaces (--private-users)", f.name)
	}
	if !f.sysctls && len(b.plan.Limits.Sysctls) > 0 {
		b.refuse("the %s flavor does not set kernel parameters (--sysctl): the namespaces are the host's", f.name)
	}
	for i := range b.plan.Apps {
		a := &b.plan.Apps[i]
		if !f.postStop && len(a.Handlers(appc.PostStop)) > 0 {
			b.refuse("app %q: the %s flavor does not run the event handler post-stop", a.Name, f.name)
		}
		if !f.contained && a.Limits.SELinux != nil {
			b.refuse("app %q: the %s flavor does not apply the isolator os/linux/selinux-context", a.Name, f.name)
		}
		for fd, s := range a.Streams {
			if !f.terminals && (s == podplan.StreamTTY || s == podplan.StreamStream) {
				b.refuse("app %q: the %s flavor does not support %s=%s", a.Name, f.name, streamNames[fd], s)
			}
		}
	}
}

// podMounts are what stage1 mounts in every app of a pod under systemd.
func podMounts(b *builder, a *podplan.App) []Mount {
	c := b.in.Call
	m := []Mount{{Source: "the pod's /proc", Target: "/proc", Recursive: true}}
	if !a.Mounts.Below("/sys") {
		m = append(m, Mount{Source: "the pod's /sys", Target: "/sys", ReadOnly: !c.DisablePaths})
	}
	m = append(m, Mount{Source: "the pod's /dev/pts", Target: "/dev/pts", Recursive: true}, Mount{Source: "the pod's /dev/shm", Target: "/dev/shm", Recursive: true})
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "net/tun", "console"} {
		m = append(m, Mount{Source: "the pod's /dev/" + name, Target: "/dev/" + name, Optional: true})
	}
	m = append(m,
		Mount{Source: "the pod's journal sockets", Target: "/run/systemd/journal", Recursive: true, Optional: true},
		Mount{Source: "the pod's notification socket", Target: "/run/systemd/notify", Optional: true},
		Mount{Source: "the host name", Target: "/etc/hostname", ReadOnly: !c.DisablePaths},
	)
	m = append(m, nameMounts(b, c)...)
	if c.HostsMode != entrypoint.ModeHost && c.HostsMode != entrypoint.ModeStage0 {
		m = append(m, Mount{Source: "the pod's hosts file, as the image has none", Target: "/etc/hosts", Optional: true})
	}
	return m
}

// flyMounts are what fly mounts.
func flyMounts(b *builder, a *podplan.App) []Mount {
	m := []Mount{{Source: "/dev", Target: "/dev", Recursive: true}, {Source: "/proc", Target: "/proc", Recursive: true}}
	if !a.Mounts.Below("/sys") {
		m = append(m, Mount{Source: "/sys", Target: "/sys", Recursive: true})
	}
	m = append(m, Mount{Source: "an empty tmpfs", Target: "/tmp"})
	return append(m, nameMounts(b, b.in.Call)...)
}

// nameMounts are the files that names are looked up in.
func nameMounts(_ *builder, c entrypoint.Run) []Mount {
	var m []Mount
	for _, f := range []struct{ mode, path, flags string }{
		{c.ResolvMode, "/etc/resolv.conf", "--dns"}, {c.HostsMode, "/etc/hosts", "--hosts-entry"},
	} {
		switch f.mode {
		case entrypoint.ModeHost:
			m = append(m, Mount{Source: f.path, Target: f.path, ReadOnly: true, Origin: FromUser})
		case entrypoint.ModeStage0:
			m = append(m, Mount{Source: fmt.Sprintf("the file made of the %s flags", f.flags), Target: f.path, Origin: FromUser})
		}
	}
	return m
}
