// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// maxManifest bounds a manifest that is registered, in bytes.
const maxManifest = 4 << 20

// Query parameters of the registration of a pod.
const (
	tokenParam = "token"
	// dirParam is the data directory of the pod, an addition to rkt 1.30: where
	// it is given, the registration outlives the service and ends with the pod.
	dirParam = "dir"
)

// registrar answers root.
type registrar struct {
	pods *registry
	dirs *dirList
}

func (s *registrar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/pods/")
	if !ok {
		setLogged(w, 0) // as rkt 1.30 logs it
		http.NotFound(w, r)
		return
	}
	id, app, isApp := strings.Cut(rest, "/")
	serve := map[string]func(*http.Request, poddir.UUID) error{
		http.MethodPut: s.putPod, http.MethodDelete: s.deletePod,
	}[r.Method]
	if isApp {
		serve = nil
		if r.Method == http.MethodPut {
			serve = func(r *http.Request, uuid poddir.UUID) error { return s.putApp(r, uuid, app) }
		}
	}
	if serve == nil {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	uuid, err := poddir.ParseUUID(id)
	if err != nil {
		http.Error(w, "UUID is missing or malformed: "+err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxManifest)
	if err := serve(r, uuid); err != nil {
		http.Error(w, err.Error(), statusOf(err))
	}
}

func statusOf(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errUnknownPod):
		return http.StatusNotFound
	case errors.Is(err, errFull):
		return http.StatusServiceUnavailable
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

func (s *registrar) putPod(r *http.Request, uuid poddir.UUID) error {
	q := r.URL.Query()
	token := q.Get(tokenParam)
	if token == "" {
		return errors.New("token missing")
	}
	if !mds.ValidToken(token) {
		return errors.New("token malformed")
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	m, err := appc.ParsePodManifest(data)
	if err != nil {
		return fmt.Errorf("JSON-decoding failed: %w", err)
	}
	g := &registration{uuid: uuid, token: token, manifest: m, images: map[appc.Name]image{}}
	if dir := q.Get(dirParam); dir != "" {
		if err := s.bind(r.Context(), g, dir); err != nil {
			return fmt.Errorf("pod directory of %s in %q: %w", uuid, dir, err)
		}
	}
	s.pods.sweep(r.Context())
	return s.pods.put(g)
}

// bind ties a registration to the pod's directory, which has to hold the token.
func (s *registrar) bind(ctx context.Context, g *registration, dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
		return errors.New("not an absolute path in its shortest form")
	}
	p, err := openRunning(ctx, dir, g.uuid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	have, err := readToken(p)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(have), []byte(g.token)) != 1 {
		return errors.New("it holds another token")
	}
	if g.stamp, err = stampOf(p); err != nil {
		return err
	}
	g.dataDir = dir
	return s.dirs.add(dir)
}

func (s *registrar) putApp(r *http.Request, uuid poddir.UUID, app string) error {
	if app == "" {
		return errors.New("app missing")
	}
	name, err := appc.NewName(app)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	m, err := appc.ParseImageManifest(data)
	if err != nil {
		return fmt.Errorf("JSON-decoding failed: %w", err)
	}
	return s.pods.addImage(uuid, name, image{m, data})
}

func (s *registrar) deletePod(_ *http.Request, uuid poddir.UUID) error {
	return s.pods.remove(uuid)
}
