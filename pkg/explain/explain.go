// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/pkg/uidrange"
)

// New makes the report. It fails if no plan can be made: stage1 would refuse the
// pod with the same error.
func New(in Input) (*Report, error) {
	f, known := findFlavor(in.Stage1)
	plan, err := podplan.New(in.Manifest, in.Images, f.options(&in))
	if err != nil {
		return nil, err
	}
	version, err := entrypoint.Version(in.Stage1.Manifest)
	if err != nil {
		return nil, err
	}
	b := &builder{in: &in, flavor: &f, plan: plan, r: &Report{
		Version: SchemaVersion, Basis: BasisPlan, subject: in.Subject,
		Pod:  Pod{UUID: in.UUID, State: in.State},
		Host: Host{Cgroups: in.Host.Cgroups, Controllers: in.Host.Controllers},
		Apps: []App{}, Refusals: []string{}, Warnings: []string{}, KernelParameters: []KernelParameter{},
	}}
	if err := b.users(); err != nil {
		return nil, err
	}
	b.stage1(known, version)
	b.pod()
	for i := range plan.Apps {
		b.app(&plan.Apps[i])
	}
	return b.r, nil
}

// builder makes a report.
type builder struct {
	in     *Input
	flavor *flavor
	plan   *podplan.Pod
	r      *Report
	shift  uint32
}

func (b *builder) refuse(format string, args ...any) {
	b.r.Refusals = append(b.r.Refusals, fmt.Sprintf(format, args...))
}

func (b *builder) warn(format string, args ...any) {
	b.r.Warnings = append(b.r.Warnings, fmt.Sprintf(format, args...))
}

func (b *builder) stage1(known bool, version int) {
	s := b.in.Stage1
	v, _ := s.Manifest.Labels.Get("version")
	b.r.Stage1 = Stage1{
		Name: s.Manifest.Name.String(), Version: v, ImageID: s.ID, Flavor: b.flavor.name, InterfaceVersion: version,
		From: s.From, Verification: s.Verification, Known: known,
	}
	if !known {
		b.warn("this rkt does not know the stage1 image: what is listed is what it is asked for, not what it enforces")
	}
}

func (b *builder) pod() {
	for _, a := range b.in.Apps {
		if a.Record != nil {
			b.r.Basis = BasisRecord
		}
	}
	b.insecure()
	b.r.Network = b.flavor.network(b)
	b.r.Namespaces = b.flavor.namespaces(b)
	b.observeNamespaces()
	b.hostName()
	for _, k := range b.plan.Limits.Sysctls {
		b.r.KernelParameters = append(b.r.KernelParameters, KernelParameter{Name: k.Name, Value: k.Value, Origin: FromUser})
	}
	b.r.Limits = b.limits("the pod", b.plan.Limits, nil)
	if !b.r.Stage1.Known {
		return
	}
	b.flavor.refusals(b)
}

// statePrepared is the state of a pod whose options are still to come.
const statePrepared = "prepared"

func (b *builder) insecure() {
	c := b.in.Call
	b.r.InsecureOptions = InsecureOptions{Run: []string{}, Fetch: b.in.Fetch}
	for _, o := range []struct {
		on   bool
		name string
	}{{c.DisableCapabilities, "capabilities"}, {c.DisablePaths, "paths"}, {c.DisableSeccomp, "seccomp"}} {
		if o.on {
			b.r.InsecureOptions.Run = append(b.r.InsecureOptions.Run, o.name)
		}
	}
	switch {
	case b.in.Started:
		return
	case b.in.State == statePrepared:
		b.warn("the pod has not been started: \"rkt run-prepared\" decides insecure options, network, host name, IPC and terminal")
	default:
		b.warn("stage1 has not recorded how the pod was started: insecure options, network, host name and IPC are not known")
	}
	b.r.InsecureOptions.Run = nil
}

func (b *builder) users() error {
	u := UserNamespace{On: b.in.PrivateUsers, Origin: orDefault(b.in.PrivateUsers)}
	switch {
	case b.in.Call.PrivateUsers != "":
		r, err := uidrange.Parse(b.in.Call.PrivateUsers)
		if err != nil {
			return err
		}
		u.First, u.Count, b.shift = r.Start, r.Count, r.Start
	case u.On:
		u.Detail = "the range is chosen when the pod is prepared"
	default:
		u.Detail = "root of the pod is root of the host"
	}
	b.r.UserNamespace = u
	return nil
}

func orDefault(asked bool) Origin {
	if asked {
		return FromUser
	}
	return FromDefault
}

func (b *builder) hostName() {
	h := Text{Value: b.in.Call.Hostname, Origin: FromUser}
	own := "rkt-" + b.in.UUID
	switch {
	case !b.flavor.hostName:
		h = Text{Origin: FromStage1, Detail: "that of the host"}
	case b.in.UUID == "" && h.Value == "":
		h = Text{Value: "rkt-UUID", Origin: FromDefault, Detail: "with the UUID of the pod"}
	case h.Value == "" || h.Value == own:
		h = Text{Value: own, Origin: FromDefault}
	}
	b.r.HostName = h
}

func (b *builder) ports() []Port {
	ports := []Port{}
	for _, p := range b.in.Manifest.Ports {
		ports = append(ports, Port{Name: p.Name.String(), HostIP: p.HostIP, HostPort: p.HostPort})
	}
	return ports
}

// namespaceFiles are the names in /proc/PID/ns.
func namespaceFiles() map[string]string {
	return map[string]string{
		"mount": "mnt", "pid": "pid", "ipc": "ipc", "network": "net", "uts": "uts", "user": "user", "cgroup": "cgroup",
	}
}

// observeNamespaces lets the kernel say what nobody else knows.
func (b *builder) observeNamespaces() {
	files := namespaceFiles()
	for i := range b.r.Namespaces {
		n := &b.r.Namespaces[i]
		for _, name := range b.appNames() {
			if own, ok := b.seenNamespace(name, files[n.Name]); ok && n.Own == nil {
				n.Own = &own
			}
		}
	}
	for _, n := range b.r.Namespaces {
		if n.Name == "network" && n.Own != nil && b.r.Network.Gives == NetUnknown {
			b.networkIs(*n.Own)
		}
	}
}

// seenNamespace tells what the kernel, or fly's record, say of a namespace.
func (b *builder) seenNamespace(app appc.Name, file string) (own, ok bool) {
	in := b.in.Apps[app]
	if in.Process != nil {
		own, ok = in.Process.OwnNamespaces[file]
		return own, ok
	}
	if in.Record != nil && in.Record.Start == nil {
		own, ok = map[string]bool{"net": in.Record.PrivateNet, "ipc": in.Record.PrivateIPC}[file]
	}
	return own, ok
}

func (b *builder) networkIs(own bool) {
	n := &b.r.Network
	switch {
	case !own:
		n.Gives, n.Detail = NetHost, "the network of the host, all of it"
	case len(n.Interfaces) > 0:
		n.Gives, n.Detail = NetNetworks, "a network of its own"
	default:
		n.Gives, n.Detail = NetLoopback, "a network of its own without an interface that stage1 has recorded"
	}
}

// appNames are those of the apps in the order of the manifest.
func (b *builder) appNames() []appc.Name {
	var all []appc.Name
	for i := range b.plan.Apps {
		all = append(all, b.plan.Apps[i].Name)
	}
	return all
}

// origin translates the word of a plan.
func origin(o podplan.Origin) Origin {
	switch o {
	case podplan.FromImage:
		return FromImage
	case podplan.FromUser:
		return FromUser
	case podplan.FromInsecure:
		return FromInsecure
	}
	return FromDefault
}

func isolatorOrigin(o isolator.Origin) Origin {
	if o == isolator.FromImage {
		return FromImage
	}
	return FromUser
}

// sortDifferences gives differences an order that does not change.
func sortDifferences(d []Difference) {
	slices.SortStableFunc(d, func(x, y Difference) int { return strings.Compare(x.Setting, y.Setting) })
}
