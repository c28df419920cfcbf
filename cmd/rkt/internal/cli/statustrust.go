// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/explain"
	"github.com/rkt/rkt/v2/pkg/pod"
)

// storeWait is how long status waits for the image store, which may be busy:
// what it says of the pod is more important.
const storeWait = 2 * time.Second

// verifications tells for each app of a pod how the origin of its image was
// checked. It is nil if the caller may not read the store, or that is busy.
func (d *Deps) verifications(ctx context.Context, in *pod.Info) []explain.Verification {
	if len(in.Apps) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	images, err := d.Images(ctx)
	if err != nil {
		d.Logger("status").Debug("not telling how images were verified: " + err.Error())
		return nil
	}
	all := make([]explain.Verification, len(in.Apps))
	for i, app := range in.Apps {
		key, err := images.Resolve(app.ImageID) //nolint:contextcheck // it takes none
		if err != nil {
			all[i] = explain.Verification{Status: explain.VerifiedUnknown, Detail: "the image is not in the store any more"}
			if d.isBuiltIn(appc.ImageID(app.ImageID)) {
				all[i] = d.verification(appc.ImageID(app.ImageID), false)
			}
			continue
		}
		all[i] = d.verification(key, false)
	}
	return all
}
