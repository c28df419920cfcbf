// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/rkt/rkt/v2/networking/firewall"
	"github.com/rkt/rkt/v2/networking/front"
	"github.com/rkt/rkt/v2/networking/netconf"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// How long the plugins of one network may take. A DHCP server that is asked
// for an address may be slow.
const (
	addPatience = 5 * time.Minute
	delPatience = 2 * time.Minute
)

// driver calls the plugins of one pod.
type driver struct {
	messages
	uuid    poddir.UUID
	data    string // data directory
	netns   string
	plugins []string // search path
	rules   firewall.Backend
	exec    invoke.Exec
	cni     *libcni.CNIConfig
	// masquerades are those that were added.
	masquerades []firewall.Masquerade
}

func newDriver(uuid poddir.UUID, data string, plugins []string, ns string, m messages) *driver {
	rules := &rules{}
	d := &driver{messages: m, uuid: uuid, data: data, netns: ns, plugins: plugins, rules: rules}
	d.exec = newExec(recorder{rules, &d.masquerades, m}, m)
	d.cni = libcni.NewCNIConfigWithCacheDir(plugins, filepath.Join(data, poddir.NetData), d.exec)
	return d
}

func newExec(masquerader front.Masquerader, m messages) invoke.Exec {
	return front.Exec{Masquerader: masquerader, Stderr: m.w}
}

// find returns the program of a plugin type.
func (d *driver) find(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
		return "", fmt.Errorf("invalid plugin type %q", name)
	}
	for _, dir := range d.plugins {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("Could not find plugin %q", name) //nolint:staticcheck // the words of rkt 1.30
}

// isPlain tells whether a network is called as rkt 1.30 did: one plugin that
// gets the bytes of the file as they are. Later versions of CNI have the
// runtime add to them.
func isPlain(n *netconf.Network) bool {
	older, err := version.GreaterThanOrEqualTo(n.CNIVersion, "0.4.0")
	return !n.Chain && err == nil && !older && len(n.Capabilities) == 0
}

// add adds the pod to a network.
func (d *driver) add(ctx context.Context, n *netconf.Network, ifName string, capabilities map[string]any) (*types100.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, addPatience)
	defer cancel()
	var result types.Result
	var err error
	if isPlain(n) {
		result, err = d.addPlain(ctx, n, ifName)
	} else {
		result, err = d.addList(ctx, n, ifName, capabilities)
	}
	if err != nil {
		return nil, plainError(err)
	}
	if result == nil { // nothing is an answer, too: tuning has no addresses
		return &types100.Result{}, nil
	}
	return types100.NewResultFromResult(result)
}

func (d *driver) addPlain(ctx context.Context, n *netconf.Network, ifName string) (types.Result, error) {
	path, err := d.find(n.Types[0])
	if err != nil {
		return nil, err
	}
	return invoke.ExecPluginWithResult(ctx, path, n.Bytes, plainArgs{d.args("ADD", ifName, n.Args)}, d.exec)
}

func (d *driver) addList(ctx context.Context, n *netconf.Network, ifName string, capabilities map[string]any) (types.Result, error) {
	list, err := n.ConfList()
	if err != nil {
		return nil, err
	}
	rt, err := d.runtimeConf(ifName, n.Args)
	if err != nil {
		return nil, err
	}
	rt.CapabilityArgs = capabilities
	return d.cni.AddNetworkList(ctx, list, rt)
}

func (d *driver) args(command, ifName, args string) *invoke.Args {
	ns := d.netns
	if !netns.IsPinned(ns) {
		ns = ""
	}
	return &invoke.Args{
		Command: command, ContainerID: d.uuid.String(), NetNS: ns, IfName: ifName,
		PluginArgsStr: args, Path: strings.Join(d.plugins, ":"),
	}
}

// plainArgs are those of a plugin that is called as rkt 1.30 did.
type plainArgs struct{ *invoke.Args }

// AsEnv is the environment of the plugin.
func (a plainArgs) AsEnv() []string {
	return append(a.Args.AsEnv(), "CNI_VERSION=0.1.0")
}

func (d *driver) runtimeConf(ifName, args string) (*libcni.RuntimeConf, error) {
	pairs, err := cniArgs(args)
	if err != nil {
		return nil, err
	}
	ns := d.netns
	if !netns.IsPinned(ns) {
		ns = ""
	}
	return &libcni.RuntimeConf{ContainerID: d.uuid.String(), NetNS: ns, IfName: ifName, Args: pairs}, nil
}

// cniArgs parses K=V;K=V.
func cniArgs(args string) (pairs [][2]string, err error) {
	if args == "" {
		return nil, nil
	}
	for pair := range strings.SplitSeq(args, ";") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok || k == "" || v == "" {
			return nil, fmt.Errorf("ARGS: invalid pair %q", pair)
		}
		pairs = append(pairs, [2]string{k, v})
	}
	return pairs, nil
}

// attachment is a network of a pod by its record.
type attachment struct {
	*netinfo.Network
	conf []byte // nil: in the file ConfPath
}

// load reads the configuration of an attachment; nil if an earlier teardown has
// removed it.
func (a attachment) load() (*netconf.Network, error) {
	data := a.conf
	if data == nil {
		var err error
		if data, err = os.ReadFile(a.ConfPath); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		} else if err != nil {
			return nil, fmt.Errorf("error loading %q; ignoring: %w", a.ConfPath, err)
		}
	}
	n, err := netconf.Parse(a.ConfPath, data)
	if err != nil {
		return nil, fmt.Errorf("error loading %q; ignoring: %w", a.ConfPath, err)
	}
	n.Args = a.Args
	return n, nil
}

// del takes the pod off a network.
func (d *driver) del(ctx context.Context, a attachment) error {
	n, err := a.load()
	if err != nil || n == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, delPatience)
	defer cancel()
	d.trace("teardown - executing net-plugin %s", n.Types[0])
	if isPlain(n) {
		err = invoke.ExecPluginWithoutResult(ctx, d.pluginOf(a.Network, n), n.Bytes, plainArgs{d.args("DEL", a.IfName, a.Args)}, d.exec)
	} else {
		err = d.delList(ctx, n, a.Network)
	}
	if err != nil {
		return fmt.Errorf("error deleting %q: %w", n.Name, plainError(err))
	}
	return nil
}

func (d *driver) delList(ctx context.Context, n *netconf.Network, info *netinfo.Network) error {
	list, err := n.ConfList()
	if err != nil {
		return err
	}
	rt, err := d.runtimeConf(info.IfName, info.Args)
	if err != nil {
		return err
	}
	if _, cached, err := d.cni.GetNetworkListCachedConfig(list, rt); err == nil && cached != nil {
		rt.CapabilityArgs = cached.CapabilityArgs
	}
	return d.cni.DelNetworkList(ctx, list, rt)
}

// pluginOf is the program that was run for ADD, or the one found now.
func (d *driver) pluginOf(info *netinfo.Network, n *netconf.Network) string {
	if st, err := os.Stat(info.PluginPath); err == nil && st.Mode().IsRegular() && filepath.Base(info.PluginPath) == n.Types[0] {
		return info.PluginPath
	}
	if path, err := d.find(n.Types[0]); err == nil {
		return path
	}
	return info.PluginPath
}

// tearDown removes forwarded ports and takes the pod off its networks, the last
// one first. Each network is tried; what stays is reported.
func (d *driver) tearDown(ctx context.Context, list []attachment) error {
	errs := []error{d.rules.Remove(d.uuid.String()), failpoint.Hit("net.ports-removed")}
	for _, a := range slices.Backward(list) {
		errs = append(errs, d.del(ctx, a))
		if err := os.Remove(a.ConfPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		errs = append(errs, failpoint.Hit("net.deleted"))
	}
	err := errors.Join(errs...)
	if err == nil {
		err = d.forget()
	}
	return errors.Join(err, failpoint.Hit("net.unregistered"), d.tidy())
}

// tidy leaves nothing of the firewall's behind when the last pod has gone.
func (d *driver) tidy() error {
	ids, err := d.rules.IDs()
	if err != nil || len(ids) > 0 {
		return err
	}
	return d.rules.Tidy()
}

// forget removes the records of a pod that has no networks any more. Libcni has
// removed its own but for a network whose configuration was gone before.
func (d *driver) forget() error {
	dir := filepath.Join(d.data, poddir.NetData, "results")
	names, err := list(dir)
	if err != nil {
		return err
	}
	files := []string{registryFile(d.data, d.uuid)}
	for _, name := range names {
		if strings.Contains(name, "-"+d.uuid.String()+"-") {
			files = append(files, filepath.Join(dir, name))
		}
	}
	var errs []error
	for _, file := range files {
		if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func attachments(infos []netinfo.Network) (list []attachment) {
	for i := range infos {
		list = append(list, attachment{Network: &infos[i]})
	}
	return list
}

// plainError is the message of a plugin as rkt 1.30 worded it.
func plainError(err error) error {
	var e *types.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Details != "" {
		return errors.New(e.Msg + "; " + e.Details)
	}
	return errors.New(e.Msg)
}

// marshalResult is a result as CNI 1.0.0 has it.
func marshalResult(r *types100.Result) ([]byte, error) {
	c := *r
	c.CNIVersion = "1.0.0"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(&c); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
