// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
)

const (
	// maxReplay is how many events are kept for those who come later.
	maxReplay = 4096
	// maxWaiting is how many events wait for a slow reader before it is let go.
	maxWaiting = 1024
)

// hub keeps events and passes them on. It is safe for concurrent use.
type hub struct {
	mu        sync.Mutex
	past      []*v1alpha.Event
	listeners map[*listener]bool
}

// listener gets events; lost is closed when it is too slow.
type listener struct {
	events chan *v1alpha.Event
	lost   chan struct{}
}

func newHub() *hub { return &hub{listeners: map[*listener]bool{}} }

func (h *hub) publish(events []*v1alpha.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		if len(h.past) == maxReplay {
			h.past = append(h.past[:0], h.past[maxReplay/4:]...)
		}
		h.past = append(h.past, e)
		for l := range h.listeners {
			select {
			case l.events <- e:
			default:
				close(l.lost)
				delete(h.listeners, l)
			}
		}
	}
}

// listen returns the events since a time, if one is given, and a listener for
// what comes after them.
func (h *hub) listen(since int64) ([]*v1alpha.Event, *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var past []*v1alpha.Event
	for _, e := range h.past {
		if since > 0 && e.GetTime() >= since {
			past = append(past, e)
		}
	}
	l := &listener{events: make(chan *v1alpha.Event, maxWaiting), lost: make(chan struct{})}
	h.listeners[l] = true
	return past, l
}

func (h *hub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
}

// ListenEvents sends events until the client leaves or until_time has come.
func (s *Server) ListenEvents(req *v1alpha.ListenEventsRequest, stream v1alpha.PublicAPI_ListenEventsServer) error {
	release, err := s.takeStream()
	if err != nil {
		return err
	}
	defer release()
	f := req.GetFilter()
	ctx := stream.Context()
	if until := f.GetUntilTime(); until > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, time.Unix(until, 0).Add(time.Second))
		defer cancel()
	}
	past, l := s.hub.listen(f.GetSinceTime())
	defer s.hub.leave(l)
	// Headers at once: a client knows from them that it misses nothing any more.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	send := func(e *v1alpha.Event) error {
		if !eventPasses(e, f) || f.GetUntilTime() > 0 && e.GetTime() > f.GetUntilTime() {
			return nil
		}
		return stream.Send(&v1alpha.ListenEventsResponse{Events: []*v1alpha.Event{e}})
	}
	for _, e := range past {
		if err := send(e); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return asStatus(stream.Context().Err()) // nil: until_time has come
		case <-s.stopping:
			return status.Error(codes.Unavailable, "the API service is stopping")
		case <-l.lost:
			return status.Error(codes.ResourceExhausted, "events were not read fast enough")
		case e := <-l.events:
			if err := send(e); err != nil {
				return err
			}
		}
	}
}
