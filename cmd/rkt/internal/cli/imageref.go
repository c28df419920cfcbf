// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// finder looks images up in the store.
type finder interface {
	Resolve(idPrefix string) (appc.ImageID, error)
	Find(name appc.Identifier, labels appc.Labels) (appc.ImageID, error)
}

// findImage finds the image a command on stored images names: by the begin of
// its ID or by name and labels. Nothing is fetched.
func findImage(images finder, arg string) (appc.ImageID, error) {
	if distribution.IsHash(arg) {
		id, err := images.Resolve(arg)
		if err != nil {
			return "", fmt.Errorf("cannot resolve image ID: %w", err)
		}
		return id, nil
	}
	name, err := distribution.ParseAppc(arg)
	if err != nil {
		return "", fmt.Errorf("cannot find image: %w", err)
	}
	id, err := images.Find(name.Name, name.Labels)
	if err != nil {
		return "", fmt.Errorf("cannot find image: %w", err)
	}
	return id, nil
}

// removable also finds images whose removal was interrupted.
type removable struct{ *imagestore.Store }

func (r removable) Find(name appc.Identifier, labels appc.Labels) (appc.ImageID, error) {
	return r.FindRemovable(name, labels)
}
