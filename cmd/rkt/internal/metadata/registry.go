// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Errors of the registry.
var (
	errUnknownPod = errors.New("Pod with given UUID not found") //nolint:staticcheck // spec services.md 1.2
	errTokenTaken = errors.New("token belongs to another pod")
	errFull       = errors.New("too many pods")
	errEnded      = errors.New("pod is not running")
)

// maxPods bounds the registry; pods that have ended do not count.
const maxPods = 8192

// image is the image of an app.
type image struct {
	manifest *appc.ImageManifest
	raw      []byte
}

// registration is what is known about a pod. It is not changed once it is in
// the registry: a new one takes its place.
type registration struct {
	uuid     poddir.UUID
	token    string
	dataDir  string // "": there is no pod directory
	stamp    stamp  // of the pod manifest that this comes from
	manifest *appc.PodManifest
	images   map[appc.Name]image
	links    []link // networks; nil: the host's, or not known yet
}

// clone is a registration that may be changed.
func (g *registration) clone() *registration {
	c := *g
	c.images = maps.Clone(g.images)
	return &c
}

// app finds an app of the pod.
func (g *registration) app(name appc.Name) (*appc.RuntimeApp, image, bool) {
	for i := range g.manifest.Apps {
		if a := &g.manifest.Apps[i]; a.Name == name {
			img, ok := g.images[name]
			return a, img, ok
		}
	}
	return nil, image{}, false
}

// tokenKey is what tokens are looked up by: how long that takes says nothing
// about the token.
type tokenKey [sha256.Size]byte

func keyOf(token string) tokenKey { return sha256.Sum256([]byte(token)) }

// registry holds the registrations. It is safe for concurrent use.
type registry struct {
	mu     sync.RWMutex
	pods   map[poddir.UUID]*registration
	tokens map[tokenKey]*registration
}

func newRegistry() *registry {
	return &registry{pods: map[poddir.UUID]*registration{}, tokens: map[tokenKey]*registration{}}
}

// put adds a registration, or replaces that of the same pod.
func (r *registry) put(g *registration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.pods[g.uuid]
	if holder := r.tokens[keyOf(g.token)]; holder != nil && holder != old {
		return errTokenTaken
	}
	if old == nil && len(r.pods) >= maxPods {
		return errFull
	}
	r.drop(old)
	r.set(g)
	return nil
}

// swap replaces old by g unless somebody else has replaced it already.
func (r *registry) swap(old, g *registration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pods[g.uuid] == old && old.token == g.token {
		r.set(g)
	}
}

func (r *registry) set(g *registration) { r.pods[g.uuid], r.tokens[keyOf(g.token)] = g, g }

func (r *registry) drop(g *registration) {
	if g != nil {
		delete(r.pods, g.uuid)
		delete(r.tokens, keyOf(g.token))
	}
}

// addImage adds the image of an app to a pod.
func (r *registry) addImage(uuid poddir.UUID, app appc.Name, img image) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.pods[uuid]
	if old == nil {
		return errUnknownPod
	}
	g := old.clone()
	g.images[app] = img
	r.set(g)
	return nil
}

// remove forgets a pod.
func (r *registry) remove(uuid poddir.UUID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.pods[uuid]
	if g == nil {
		return errUnknownPod
	}
	r.drop(g)
	return nil
}

// forget removes this very registration.
func (r *registry) forget(g *registration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pods[g.uuid] == g {
		r.drop(g)
	}
}

// find returns the registration of the running pod that has the token and may
// use it from an address. What has changed in the pod directory is read anew.
func (r *registry) find(ctx context.Context, token string, from netip.Addr) (*registration, error) {
	r.mu.RLock()
	g := r.tokens[keyOf(token)]
	r.mu.RUnlock()
	if g == nil || subtle.ConstantTimeCompare([]byte(g.token), []byte(token)) != 1 {
		return nil, errUnknownPod
	}
	g, err := r.current(ctx, g)
	if err != nil {
		return nil, err
	}
	if !g.mayAskFrom(from) {
		return nil, fmt.Errorf("pod %s: its token was used from %s, which is no address of the pod", g.uuid, from)
	}
	return g, nil
}

// current brings a registration up to date; it is gone if the pod has ended.
func (r *registry) current(ctx context.Context, g *registration) (*registration, error) {
	fresh, err := refresh(ctx, g)
	switch {
	case errors.Is(err, errEnded):
		r.forget(g)
		return nil, err
	case err != nil:
		return nil, err
	}
	if fresh != g {
		r.swap(g, fresh)
	}
	return fresh, nil
}

// all are the registrations, by UUID.
func (r *registry) all() []*registration {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.SortedFunc(maps.Values(r.pods), func(a, b *registration) int { return cmp.Compare(a.uuid, b.uuid) })
}

// sweep forgets pods that have ended.
func (r *registry) sweep(ctx context.Context) {
	for _, g := range r.all() {
		if g.dataDir == "" {
			continue
		}
		// What cannot be told now is told when the token is used.
		_, _ = r.current(ctx, g)
	}
}

// isGone tells whether an error says that there is no file, or no pod.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// connects tells whether a connection is one that pods make: over loopback, or
// from an address of a registered pod to the gateway of that network.
func (r *registry) connects(ctx context.Context, local, remote netip.Addr) bool {
	if local.IsLoopback() {
		return true
	}
	for _, g := range r.all() {
		if g.links == nil && g.dataDir != "" {
			if fresh, err := r.current(ctx, g); err == nil {
				g = fresh
			}
		}
		if g.connects(local, remote) {
			return true
		}
	}
	return false
}
