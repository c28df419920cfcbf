// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Content types of the public interface, exactly (spec services.md 1.3).
const (
	typeText = "text/plain; charset=us-ascii"
	typeJSON = "application/json"
)

// maxForm bounds the body of a form in bytes.
const maxForm = 256 << 10

// public answers pods.
type public struct {
	pods   *registry
	signer *signer
	log    func(string)
}

func (s *public) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := parsePath(r.URL.Path)
	if t.route == noRoute {
		setLogged(w, 0) // as rkt 1.30 logs it
		http.NotFound(w, r)
		return
	}
	if r.Method != t.route.method() {
		w.Header().Set("Allow", t.route.method())
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	g, err := s.pods.find(r.Context(), t.token, addrOf(r.RemoteAddr))
	if err != nil {
		s.tell(err)
		http.Error(w, "pod not found", http.StatusUnauthorized)
		return
	}
	s.answer(w, r, g, t)
}

// tell logs why a pod that is registered got no answer.
func (s *public) tell(err error) {
	if !errors.Is(err, errUnknownPod) && !errors.Is(err, errEnded) {
		s.log(err.Error())
	}
}

func (s *public) answer(w http.ResponseWriter, r *http.Request, g *registration, t target) {
	switch t.route {
	case podAnnotations:
		writeJSON(w, nonNil(g.manifest.Annotations))
	case podAnnotation:
		writeAnnotation(w, "Pod", t.name, g.manifest.Annotations)
	case podManifest:
		data, err := g.manifest.Marshal()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		write(w, typeJSON, data)
	case podUUID:
		write(w, typeText, []byte(g.uuid.String()))
	case podSign:
		s.sign(w, r, g)
	case podVerify:
		s.verify(w, r)
	default:
		answerApp(w, g, t)
	}
}

// answerApp answers what is asked about an app.
func answerApp(w http.ResponseWriter, g *registration, t target) {
	name, err := appc.NewName(t.app)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a, img, ok := g.app(name)
	if !ok {
		http.Error(w, "app not found", http.StatusNotFound)
		return
	}
	switch t.route {
	case appAnnotations:
		writeJSON(w, merged(img.manifest.Annotations, a.Annotations))
	case appAnnotation:
		writeAnnotation(w, "App", t.name, merged(img.manifest.Annotations, a.Annotations))
	case appImageManifest:
		write(w, typeJSON, img.raw)
	case appImageID:
		write(w, typeText, []byte(a.Image.ID))
	default: // parsePath knows no other
		http.Error(w, "no such route", http.StatusNotFound)
	}
}

// merged are the annotations of an image overlaid by those of the pod: in the
// order of the image, what is added behind.
func merged(image, pod appc.Annotations) appc.Annotations {
	all := append(appc.Annotations{}, image...)
	for _, a := range pod {
		all.Set(a.Name, a.Value)
	}
	return all
}

func nonNil(a appc.Annotations) appc.Annotations { return append(appc.Annotations{}, a...) }

func writeAnnotation(w http.ResponseWriter, kind, name string, all appc.Annotations) {
	if _, err := appc.NewIdentifier(name); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	value, ok := all.Get(name)
	if !ok {
		http.Error(w, fmt.Sprintf("%s annotation %q not found", kind, name), http.StatusNotFound)
		return
	}
	write(w, typeText, []byte(value))
}

func writeJSON(w http.ResponseWriter, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, typeJSON, data)
}

func write(w http.ResponseWriter, contentType string, data []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(data) // the pod may be gone
}

// form parses the form of a request: URL-encoded or multipart, or query
// parameters. It answers itself if there is something wrong.
func form(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseForm()
	if err == nil {
		err = r.ParseMultipartForm(maxForm) // all of it in memory
	}
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil, errors.Is(err, http.ErrNotMultipart):
		return true
	case errors.As(err, &tooLarge):
		http.Error(w, fmt.Sprintf("form of more than %d bytes", maxForm), http.StatusRequestEntityTooLarge)
	default:
		http.Error(w, "form: "+err.Error(), http.StatusBadRequest)
	}
	return false
}

func (s *public) sign(w http.ResponseWriter, r *http.Request, g *registration) {
	if !form(w, r) {
		return
	}
	content := r.Form.Get("content")
	if content == "" {
		http.Error(w, "content form value not found", http.StatusBadRequest)
		return
	}
	write(w, typeText, []byte(base64.StdEncoding.EncodeToString(s.signer.sign(g.uuid, content))))
}

func (s *public) verify(w http.ResponseWriter, r *http.Request) {
	if !form(w, r) {
		return
	}
	uuid, err := poddir.ParseUUID(r.Form.Get("uuid"))
	if err != nil {
		http.Error(w, "uuid field missing or malformed: "+err.Error(), http.StatusBadRequest)
		return
	}
	content := r.Form.Get("content")
	if content == "" {
		http.Error(w, "content field missing", http.StatusBadRequest)
		return
	}
	signature, err := base64.StdEncoding.DecodeString(r.Form.Get("signature"))
	if err == nil && len(signature) == 0 {
		err = errors.New("empty")
	}
	if err != nil {
		http.Error(w, "signature field missing or corrupt: "+err.Error(), http.StatusBadRequest)
		return
	}
	if !s.signer.verify(uuid, content, signature) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	write(w, typeText, nil)
}

// addrOf is the address in a net.Addr's text; the zero value if it has none.
func addrOf(s string) netip.Addr {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}
