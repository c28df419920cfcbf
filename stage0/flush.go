// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// flush makes what was prepared durable, unless it is run at once.
//
// An overlay pod has a handful of small files, each flushed from the moment it
// is written, while trees are checked. Empty files need no flush of their own:
// they are wholly in the entry of their directory. Flushing everything at the
// same time costs one or two journal commits, 3 to 6 ms on ext4 on an idle
// disk, whatever else is dirty; one after the other takes 6 to 20 ms; syncfs
// takes 1 to 3 ms on an idle file system and 200 ms when somebody else has just
// written 200 MB. A copied tree has thousands of files: there syncfs is better.
func (pr *preparation) flush() error {
	if pr.RunNow {
		return nil
	}
	if !pr.overlay {
		return atomicfile.SyncFS(pr.dir)
	}
	dirs := []string{"", poddir.AppsInfo, poddir.Stage1}
	for _, name := range pr.names {
		dirs = append(dirs, filepath.Join(poddir.AppsInfo, name.String()))
	}
	for _, rel := range dirs {
		pr.syncs.Go(func() error { return atomicfile.SyncDir(filepath.Join(pr.dir, rel)) })
	}
	return pr.syncs.Wait()
}
