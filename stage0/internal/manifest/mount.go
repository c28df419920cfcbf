// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"path"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// mergeMounts is an app's mounts followed by those of all apps; of several
// with the same cleaned path the first wins.
func mergeMounts(own, global []appc.Mount) []appc.Mount {
	var out []appc.Mount
	seen := map[string]bool{}
	for _, list := range [][]appc.Mount{own, global} {
		for _, m := range list {
			target := path.Clean(m.Path)
			if !seen[target] {
				seen[target] = true
				out = append(out, m)
			}
		}
	}
	return out
}
