// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/discovery"
	"github.com/rkt/rkt/v2/pkg/distribution"
)

// resolve finds an image by name, in the store or by discovery. text is how
// the image was asked for.
func (r *run) resolve(ctx context.Context, p distribution.Appc, text string) (appc.ImageID, error) {
	return (&names{run: r, finder: r.finder()}).image(ctx, wanted{Appc: p, text: text, signature: r.o.Signature})
}

// wanted is an image that is asked for by name.
type wanted struct {
	distribution.Appc
	text string
	id   appc.ImageID // the only one that will do; "" if any will

	signature string // file of --signature
}

// names brings images by name.
type names struct {
	*run
	finder *discovery.Finder
}

// image looks in the store first, unless the policy is to ask the remote side.
func (n *names) image(ctx context.Context, w wanted) (appc.ImageID, error) {
	labels, err := hostLabels(w.Appc)
	if err != nil {
		return "", err
	}
	if n.o.Policy != Update {
		id, err := n.Store.Find(w.Name, labels)
		if err == nil {
			n.debug("using image from local store for image name %s", w.text)
			return id, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return "", fmt.Errorf("image name %q: %w", w.text, err)
		}
	}
	if n.o.Policy == Never {
		return "", fmt.Errorf("unable to fetch image from image name %q: %s", w.text, tail)
	}
	n.debug("searching for app image %s", w.Name)
	return n.discover(ctx, w, labels)
}

// hostLabels adds the host's os and arch where the name does not say them.
func hostLabels(p distribution.Appc) (appc.Labels, error) {
	labels := slices.Clone(p.Labels)
	hostOS, hostArch := appc.HostLabels()
	os, ok := labels.Get("os")
	if !ok {
		os = hostOS
		labels = append(labels, appc.Label{Name: "os", Value: os})
	}
	arch, ok := labels.Get("arch")
	if !ok {
		arch = hostArch
		labels = append(labels, appc.Label{Name: "arch", Value: arch})
	}
	if err := appc.RunnableOSArch(os, arch); err != nil {
		return nil, fmt.Errorf("invalid Appc distribution %q: %w", p.CIMD(), err)
	}
	return labels, nil
}
