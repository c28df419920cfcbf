// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
)

// ErrNoNetworks is returned by CheckNetworks for a pod whose networks nobody
// has set up: it has the host's, or its stage1 cannot tell.
var ErrNoNetworks = errors.New("the pod has no networks of its own")

// CheckNetworks has the stage1 of a running pod tell what is missing of its
// networks, and put back what can be if repair is set (command net).
func CheckNetworks(ctx context.Context, p *pod.Pod, e Env, repair bool) (entrypoint.NetReport, error) {
	var report entrypoint.NetReport
	m, err := p.Stage1Manifest()
	if err != nil {
		return report, err
	}
	entry, err := entrypoint.Lookup(m, entrypoint.AnnotationNet)
	var missing *entrypoint.NotFoundError
	if errors.As(err, &missing) {
		return report, ErrNoNetworks
	}
	if err != nil {
		return report, err
	}
	roots, err := e.stage1Roots(ctx, p)
	if err != nil {
		return report, err
	}
	prog, err := findProgram(roots, entry)
	if err != nil {
		return report, err
	}
	action := entrypoint.NetCheck
	if repair {
		action = entrypoint.NetRepair
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, prog.path)
	cmd.Args = entrypoint.Net{Path: prog.name, Action: action, Debug: e.Debug, UUID: p.UUID()}.Argv()
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Path(), &out, e.stderr()
	// Always over the read-only tree: what runs as root on the host is what the
	// image has, not what the pod has made of it.
	err = privns.Do(func() error { return runWithStage1(cmd, p, roots) })
	if err != nil {
		return report, fmt.Errorf("networks of pod %s: %w", p.UUID(), err)
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return report, fmt.Errorf("networks of pod %s: stage1 has answered with something else than a report: %w", p.UUID(), err)
	}
	return report, nil
}

// sweepNetworks has a stage1 remove what is left of the networks of pods that
// are gone. Which one does not matter; each record names the tree of the pod's
// own. It does nothing where no pod has networks.
func (g *collector) sweepNetworks(ctx context.Context) {
	root, err := g.networkTree(ctx)
	if err == nil && root != "" {
		err = g.sweepWith(ctx, root)
	}
	if err == nil {
		err = failpoint.Hit("gc.networks-swept")
	}
	if err != nil {
		g.say("problem sweeping networks: %v", err)
	}
}

// networkProgram is where stage1 images have the program, below their root.
const networkProgram = "/usr/lib/rkt/net"

// networkTree returns the directory of a stage1 that has the program; empty if
// none is needed.
func (g *collector) networkTree(ctx context.Context) (string, error) {
	dir := filepath.Join(g.DataDir, poddir.NetPods)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	tried, left := map[string]bool{}, false
	for _, e := range entries {
		if _, err := poddir.ParseUUID(e.Name()); err != nil { // one that is being written
			continue
		}
		id, err := netinfo.RegisteredTree(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) { // since then torn down
			continue
		}
		left = true
		if err != nil || tried[id] {
			continue
		}
		tried[id] = true
		tree, err := g.Trees.Get(ctx, id)
		if err != nil || len(tree.Lowers) != 1 {
			continue
		}
		if _, err := programIn(tree.Lowers[0], networkProgram); err == nil {
			return tree.Lowers[0], nil
		}
	}
	if !left {
		return "", nil
	}
	return "", errors.New("no stage1 of the pods in " + dir + " is left; run any pod with a network, then gc again")
}

// scratch makes a directory that no other gc takes for trash.
func scratch(tmp string) (dir string, held *lock.Lock, err error) {
	const tries = 10
	for range tries {
		if dir, err = os.MkdirTemp(tmp, "net-"); err != nil {
			return "", nil, err
		}
		// One may have taken it just now.
		if held, err = lock.TryTake(dir, lock.Exclusive); err != nil {
			continue
		}
		there, atErr := held.IsAt(dir)
		if there {
			return dir, held, nil
		}
		err = errors.Join(atErr, held.Close())
	}
	return "", nil, fmt.Errorf("directory to sweep networks from: %w", errors.Join(err, lock.ErrLocked))
}

func (g *collector) sweepWith(ctx context.Context, root string) (err error) {
	tmp := filepath.Join(g.DataDir, poddir.Tmp)
	if err := os.MkdirAll(tmp, 0o750); err != nil {
		return err
	}
	dir, held, err := scratch(tmp)
	if err != nil {
		return err
	}
	defer func() { _ = held.Close() }()
	target := filepath.Join(dir, poddir.Stage1Rootfs)
	defer func() {
		err = errors.Join(err, os.Remove(target), os.Remove(filepath.Dir(target)), os.Remove(dir))
	}()
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	path, err := programIn(root, networkProgram)
	if err != nil {
		return err
	}
	data, err := filepath.Abs(g.DataDir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Args = entrypoint.Net{Path: path, Action: entrypoint.NetSweep, Debug: g.Debug, DataDir: data}.Argv()
	cmd.Dir, cmd.Stderr = dir, g.stderr()
	return privns.Do(func() error {
		if err := mountReadOnly([]string{root}, target); err != nil {
			return err
		}
		defer func() { _ = unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) }()
		return cmd.Run()
	})
}
