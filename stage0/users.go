// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/uidrange"
	"github.com/rkt/rkt/v2/stage0/internal/rootfs"
)

// userRange is the range of host IDs of a pod's user namespace; the zero value
// means none. A pod that has one and uses overlay has its layers mapped to it;
// one that is copied has the IDs of the range in its files.
type userRange struct{ shift, count uint32 }

// usersLock is a key in DATA/locks, exclusive while a range is chosen.
const usersLock = "privateUsersLock"

func (r userRange) String() string { return uidrange.Range{Start: r.shift, Count: r.count}.String() }

func parseUserRange(s string) (userRange, error) {
	if s == "" {
		return userRange{}, nil
	}
	r, err := uidrange.Parse(s)
	return userRange{r.Start, r.Count}, err
}

// allocateUsers chooses a range that nobody else has and records it with p, in
// whose directory it stays as long as the pod exists.
func allocateUsers(ctx context.Context, p *pod.Pod) (userRange, error) {
	host, err := uidrange.ReadHost("/etc")
	if err != nil {
		return userRange{}, fmt.Errorf("allocate user range: %w", err)
	}
	l, err := lock.Key(ctx, filepath.Join(p.DataDir(), poddir.Locks), usersLock, lock.Exclusive)
	if err != nil {
		return userRange{}, fmt.Errorf("allocate user range: %w", err)
	}
	defer func() { _ = l.Close() }()
	taken, err := rangesOfPods(ctx, p.DataDir())
	if err != nil {
		return userRange{}, fmt.Errorf("user ranges of other pods: %w", err)
	}
	chosen, err := host.Choose(taken, randomNumber())
	if err != nil {
		return userRange{}, fmt.Errorf("allocate user range: %w", err)
	}
	path := filepath.Join(p.Path(), poddir.PrivateUsersPrepared)
	if err := os.WriteFile(path, []byte(chosen.String()), 0o640); err != nil {
		return userRange{}, err
	}
	return userRange{chosen.Start, chosen.Count}, failpoint.Hit("prepare.users-recorded")
}

// rangesOfPods are those of all pods that exist, in whatever state: files of a
// dead one may still belong to its IDs.
func rangesOfPods(ctx context.Context, dataDir string) (taken []uidrange.Range, err error) {
	err = pod.Walk(ctx, dataDir, poddir.StateDirs(), func(string) {}, func(o *pod.Pod) error {
		s, err := o.PrivateUsers()
		if err != nil || s == "" {
			return err
		}
		r, err := uidrange.Parse(s)
		if err != nil {
			return fmt.Errorf("pod %s: %w", o.UUID(), err)
		}
		taken = append(taken, r)
		return nil
	})
	return taken, err
}

func randomNumber() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return binary.NativeEndian.Uint32(b[:])
}

// checkMapped returns an error unless the pod can use overlay although it has a
// user namespace: stage1 has to know how to write into such a tree, and the
// host has to have idmapped mounts.
func checkMapped(dataDir string, stage1 *appc.ImageManifest) error {
	const refusal = "cannot use both overlay and user namespace: not implemented yet. (Try --no-overlay)"
	if !entrypoint.MapsUsers(stage1) {
		return fmt.Errorf("%s: the stage1 image does not support it", refusal)
	}
	if err := rootfs.TryMapped(dataDir); err != nil {
		return fmt.Errorf("%s: %w", refusal, err)
	}
	return nil
}
