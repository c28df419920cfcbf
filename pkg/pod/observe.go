// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Observe opens the pods of the given state directories, on all CPUs at once,
// and calls fn for each, concurrently and in no order; fn must not keep the Pod.
// It is for readers that may have no rights: it creates nothing, takes no more
// than a shared lock for an instant, and a data directory that is not there has
// no pods. A pod that cannot be opened is passed to bad; one that left the
// directories meanwhile is left out.
func Observe(ctx context.Context, dataDir string, dirs []string, fn func(*Pod), bad func(poddir.UUID, error)) error {
	pods, err := scan(dataDir, dirs)
	if err != nil {
		return err
	}
	next := make(chan found)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pods)) {
		wg.Go(func() {
			for f := range next {
				p, err := openAmong(ctx, dataDir, dirs[f.from:], f.uuid)
				switch {
				case errors.Is(err, ErrNotPresent):
				case err != nil:
					bad(f.uuid, err)
				default:
					fn(p)
					_ = p.Close()
				}
			}
		})
	}
	for _, f := range pods {
		if ctx.Err() != nil {
			break
		}
		next <- f
	}
	close(next)
	wg.Wait()
	return ctx.Err()
}

// Places tells in which state directory each pod is. It opens no pod.
func Places(dataDir string, dirs []string) (map[poddir.UUID]string, error) {
	pods, err := scan(dataDir, dirs)
	if err != nil {
		return nil, err
	}
	places := make(map[poddir.UUID]string, len(pods))
	for _, f := range pods {
		places[f.uuid] = dirs[f.from]
	}
	return places, nil
}

// scan is enumerate without making directories and without remarks. Of a pod
// seen twice the first sight is kept.
func scan(dataDir string, dirs []string) ([]found, error) {
	var pods []found
	seen := map[poddir.UUID]bool{}
	for i, dir := range dirs {
		uuids, _, err := readStateDir(filepath.Join(dataDir, poddir.Pods, dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, uuid := range uuids {
			if !seen[uuid] {
				seen[uuid] = true
				pods = append(pods, found{uuid, i})
			}
		}
	}
	return pods, nil
}

// Subcgroup returns the pod's cgroup as stage1 recorded it, empty if it has not.
func (p *Pod) Subcgroup() (string, error) {
	data, err := p.readFile(poddir.Subcgroup)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}

// Modified is the modification time of a file or directory below the pod
// directory, without following links; zero if it is not there.
func (p *Pod) Modified(rel string) (time.Time, error) {
	fd, err := p.openBeneath(filepath.Clean(rel), unix.O_PATH)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return time.Time{}, err
	}
	return time.Unix(st.Mtim.Unix()), nil
}
