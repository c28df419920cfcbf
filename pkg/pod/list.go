// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Listing is the answer of List.
type Listing struct {
	Pods    []Info   // sorted by UUID
	Remarks []string // on entries that are no pods
}

// List gathers the pods of the given state directories (ListedDirs for what
// "list" shows), on all CPUs at once, as far as detail asks for. Pods that move out of these directories
// or vanish meanwhile are left out; pods with faults are listed as far as they
// can be read, see Info.Err. It fails only if a state directory cannot be read.
func List(ctx context.Context, dataDir string, dirs []string, detail Detail) (*Listing, error) {
	pods, remarks, err := enumerate(ctx, dataDir, dirs)
	if err != nil {
		return nil, err
	}
	infos := make([]*Info, len(pods))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pods)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(pods) || ctx.Err() != nil {
					return
				}
				infos[i] = inspect(ctx, dataDir, dirs[pods[i].from:], pods[i].uuid, detail)
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := &Listing{Pods: make([]Info, 0, len(infos)), Remarks: remarks}
	for _, in := range infos {
		if in != nil {
			l.Pods = append(l.Pods, *in)
		}
	}
	return l, nil
}

// inspect returns nil for a pod that is not in dirs any more.
func inspect(ctx context.Context, dataDir string, dirs []string, uuid poddir.UUID, detail Detail) *Info {
	p, err := openAmong(ctx, dataDir, dirs, uuid)
	if errors.Is(err, ErrNotPresent) {
		return nil
	}
	if err != nil {
		return &Info{UUID: uuid, Err: err}
	}
	defer func() { _ = p.Close() }()
	in := p.info(detail)
	if in.Err == nil || !isAbsent(in.Err) {
		return &in
	}
	// Something was not there: is the pod being deleted under our eyes?
	if err := p.Refresh(); err == nil && (p.state == Gone || p.state == Deleting || p.state == ExitedDeleting) {
		if p.state == Gone {
			return nil
		}
		in.State, in.Err = p.state, nil
	}
	return &in
}
