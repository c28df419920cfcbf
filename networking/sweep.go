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

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/networking/netconf"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Sweep removes what is left of the networks of pods that have no directory
// any more, and lets plugins collect what only they know of (CNI GC), with the
// pods that are there as the valid attachments. The working directory has a
// stage1 with plugins at the place where a pod has it.
//
// A pod that is being set up meanwhile is safe: set-ups and sweeps exclude each
// other. While one runs there is nothing to sweep.
func Sweep(ctx context.Context, data string, stderr io.Writer, debug bool) error {
	unlock, err := lockNetworks(data, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	registered, err := list(filepath.Join(data, poddir.NetPods))
	if err != nil {
		return err
	}
	present, err := podsIn(data)
	if err != nil {
		return err
	}
	m := messages{stderr, debug}
	var errs []error
	for _, name := range registered {
		uuid, err := poddir.ParseUUID(name)
		if err != nil || present[name] {
			continue
		}
		m.say("sweeping the networks of pod %s, which is gone", uuid)
		errs = append(errs, sweepPod(ctx, data, uuid, m), failpoint.Hit("net.swept"))
	}
	errs = append(errs, collect(ctx, data, present, m))
	return errors.Join(errs...)
}

// lockNetworks locks the networks of a data directory: shared for a set-up,
// exclusive for a sweep.
func lockNetworks(data string, how int) (unlock func(), err error) {
	dir, err := os.Open(filepath.Join(data, poddir.NetData))
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(dir.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "lock", Path: dir.Name(), Err: err}, dir.Close())
	}
	return func() { _ = dir.Close() }, nil
}

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
	if err != nil {
		return err
	}
	if len(st.Confs) != len(st.Nets) {
		return fmt.Errorf("%s: damaged", file)
	}
	d, err := newDriver(uuid, data, st.Plugins, st.NetNS, m)
	if err != nil {
		return err
	}
	list := attachments(st.Nets)
	for i := range list {
		list[i].conf = st.Confs[i]
	}
	if st.NetNS == netns.Path(uuid.String()) {
		err = netns.Unpin(st.NetNS)
	}
	return errors.Join(err, d.tearDown(ctx, list))
}

// collect calls CNI GC for each network that a pod is known to be attached to.
// Networks of CNI's own directory are left out: other runtimes have attachments
// there that rkt does not know.
func collect(ctx context.Context, data string, present map[string]bool, m messages) error {
	rules, err := openRules()
	if err != nil {
		return err
	}
	plugins := []string{hostPlugins, ownPlugins}
	cni := libcni.NewCNIConfigWithCacheDir(plugins, filepath.Join(data, poddir.NetData), newExec(rules, m))
	all, err := cni.GetCachedAttachments("")
	if err != nil || len(all) == 0 {
		return err
	}
	foreign := netconf.Load([]netconf.Dir{{Path: cniConf, Kind: netconf.CNI}})
	valid := map[string][]types.GCAttachment{}
	configs := map[string][]byte{}
	for _, a := range all {
		configs[a.Network] = a.Config
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
			err = cni.GCNetworkList(ctx, conf, &libcni.GCArgs{ValidAttachments: valid[name]})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("collect garbage of network %q: %w", name, plainError(err)))
		}
	}
	return errors.Join(errs...)
}
