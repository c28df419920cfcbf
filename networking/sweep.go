// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/rkt/rkt/v2/networking/netconf"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Sweep removes what is left of the networks of pods that have no directory
// any more, and lets plugins collect what only they know of (CNI GC), with the
// pods that are there as the valid attachments. The working directory has a
// stage1 with plugins at the place where a pod has it.
//
// A pod that is being set up meanwhile is safe: who is gone is found out, and
// plugins collect, while no set-up runs, or not this time. Set-ups need not wait
// for the plugins of pods that are gone.
func Sweep(ctx context.Context, data string, stderr io.Writer, debug bool) error {
	l, err := lock.TryTake(netDir(data), lock.Exclusive)
	if errors.Is(err, lock.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	registered, err := registered(data)
	if err != nil {
		return err
	}
	present, err := podsIn(data)
	if err != nil {
		return err
	}
	if err := l.Try(lock.Shared); err != nil {
		return unlessLocked(err)
	}
	m := messages{stderr, debug}
	errs := []error{sweepGone(ctx, data, registered, present, m)}
	if err := l.Try(lock.Exclusive); err != nil {
		return errors.Join(append(errs, unlessLocked(err))...)
	}
	if present, err = podsIn(data); err == nil {
		err = collect(ctx, data, present, m)
	}
	return errors.Join(append(errs, err)...)
}

// unlessLocked is nil if somebody else has a lock: a sweep or a set-up.
func unlessLocked(err error) error {
	if errors.Is(err, lock.ErrLocked) {
		return nil
	}
	return err
}

// registered are the pods that have a record. What a set-up that was killed was
// writing is removed: now, none is.
func registered(data string) (pods []poddir.UUID, err error) {
	dir := filepath.Join(data, poddir.NetPods)
	names, err := list(dir)
	for _, name := range names {
		if uuid, err := poddir.ParseUUID(name); err == nil && uuid.String() == name {
			pods = append(pods, uuid)
		} else if strings.HasPrefix(name, ".") {
			_ = os.Remove(filepath.Join(dir, name)) // or the next time
		}
	}
	return pods, err
}

// sweepGone sweeps the registered pods that are not present.
func sweepGone(ctx context.Context, data string, registered []poddir.UUID, present map[string]bool, m messages) error {
	var errs []error
	for _, uuid := range registered {
		if present[uuid.String()] {
			continue
		}
		if _, err := os.Lstat(registryFile(data, uuid)); errors.Is(err, fs.ErrNotExist) {
			continue // its pod was deleted in order, by somebody else, just now
		}
		m.say("sweeping the networks of pod %s, which is gone", uuid)
		errs = append(errs, sweepPod(ctx, data, uuid, m), failpoint.Hit("net.swept"))
	}
	return errors.Join(errs...)
}

// netDir is what is locked of a data directory: shared by a set-up, exclusively
// by a sweep.
func netDir(data string) string { return filepath.Join(data, poddir.NetData) }

func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// podsIn are the pods that have a directory, in whatever state. Pods move
// forward only, so none is missed.
func podsIn(data string) (map[string]bool, error) {
	present := map[string]bool{}
	for _, state := range poddir.StateDirs() {
		names, err := list(filepath.Join(data, poddir.Pods, state))
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			present[n] = true
		}
	}
	return present, nil
}

// sweepPod removes what one pod has left, by the record that stands in for it.
func sweepPod(ctx context.Context, data string, uuid poddir.UUID, m messages) error {
	file := registryFile(data, uuid)
	st, err := readState(file)
	damaged := errors.Is(err, errDamaged)
	if damaged {
		m.say("%v: going by what is known without it", err)
		st, err = &state{NetNS: netns.Path(uuid.String()), Plugins: []string{hostPlugins, ownPlugins, cniPlugins}}, nil
	}
	if err != nil {
		return err
	}
	d := newDriver(uuid, data, st.Plugins, st.NetNS, m)
	list := attachments(st.Nets)
	for i := range list {
		list[i].conf = st.Confs[i]
	}
	if damaged {
		if list, err = d.cached(); err != nil {
			return err
		}
	}
	if st.NetNS == netns.Path(uuid.String()) {
		err = netns.Unpin(st.NetNS)
	}
	return errors.Join(err, d.tearDown(ctx, list))
}

// cached are the pod's attachments by libcni's results: those to networks of
// CNI 0.4.0 and later that were added.
func (d *driver) cached() (list []attachment, err error) {
	all, err := d.cni.GetCachedAttachments(d.uuid.String())
	for _, a := range all {
		var args []string
		for _, kv := range a.CniArgs {
			args = append(args, kv[0]+"="+kv[1])
		}
		list = append(list, attachment{
			Network: &netinfo.Network{Name: a.Network, ConfPath: a.Network + ".conflist", IfName: a.IfName, Args: strings.Join(args, ";")},
			conf:    a.Config,
		})
	}
	return list, err
}

// collect calls CNI GC for each network that a pod is known to be attached to.
// Networks of CNI's own directory are left out: other runtimes have attachments
// there that rkt does not know.
func collect(ctx context.Context, data string, present map[string]bool, m messages) error {
	ctx, cancel := context.WithTimeout(ctx, delPatience)
	defer cancel()
	rules := &rules{}
	with := func(plugins []string) *libcni.CNIConfig {
		return libcni.NewCNIConfigWithCacheDir(plugins, filepath.Join(data, poddir.NetData), newExec(rules, m))
	}
	all, err := with(nil).GetCachedAttachments("")
	if err != nil || len(all) == 0 {
		return err
	}
	foreign := netconf.Load([]netconf.Dir{{Path: cniConf, Kind: netconf.CNI}})
	valid := map[string][]types.GCAttachment{}
	configs := map[string][]byte{}
	plugins := map[string][]string{}
	for _, a := range all {
		configs[a.Network] = a.Config
		plugins[a.Network] = searchPath(data, a.ContainerID, plugins[a.Network])
		if present[a.ContainerID] {
			valid[a.Network] = append(valid[a.Network], types.GCAttachment{ContainerID: a.ContainerID, IfName: a.IfName})
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		if foreign.Has(name) {
			continue
		}
		conf, err := libcni.NetworkConfFromBytes(configs[name])
		if err == nil {
			err = with(plugins[name]).GCNetworkList(ctx, conf, &libcni.GCArgs{ValidAttachments: valid[name]})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("collect garbage of network %q: %w", name, plainError(err)))
		}
	}
	return errors.Join(errs...)
}

// searchPath is where the plugins of a pod are, by its record; without one it is
// what is known so far, or where rkt has its own.
func searchPath(data, id string, known []string) []string {
	uuid, err := poddir.ParseUUID(id)
	if err == nil {
		if st, err := readState(registryFile(data, uuid)); err == nil && len(st.Plugins) > 0 {
			return st.Plugins
		}
	}
	if known == nil {
		known = []string{hostPlugins, ownPlugins}
	}
	return known
}
