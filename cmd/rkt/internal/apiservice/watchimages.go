// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"context"
	"time"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// imageWatch finds the differences between looks at the store.
type imageWatch struct {
	images *imagestore.Reader
	names  map[appc.ImageID]string // nil before the first look
}

func newImageWatch(images *imagestore.Reader) *imageWatch { return &imageWatch{images: images} }

// look returns the events since the last look; the first finds none.
func (w *imageWatch) look(ctx context.Context, now time.Time) []*v1alpha.Event {
	keys, err := w.images.Keys()
	if err != nil {
		return nil
	}
	var events []*v1alpha.Event
	names := make(map[appc.ImageID]string, len(keys))
	for _, key := range keys {
		name, known := w.names[key]
		if !known {
			if in, _, err := w.images.Get(ctx, key); err == nil {
				name = string(in.Name)
			}
			events = append(events, newEvent(v1alpha.EventType_EVENT_TYPE_IMAGE_IMPORTED, string(key), name, now))
		}
		names[key] = name
	}
	for key, name := range w.names {
		if _, ok := names[key]; !ok {
			events = append(events, newEvent(v1alpha.EventType_EVENT_TYPE_IMAGE_REMOVED, string(key), name, now))
		}
	}
	first := w.names == nil
	w.names = names
	if first {
		return nil
	}
	return events
}
