// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// site is all hosts of the world: each has the page /, and archives are at
// the server's own address.
type site struct {
	*httptest.Server
	page  string            // {SITE} stands for the server's URL
	files map[string][]byte // by path

	mu       sync.Mutex
	requests []string // "host/path"
	auth     []string
}

const plainTemplate = `<meta name="ac-discovery" content="example.com {SITE}/{name}-{version}.{ext}">`

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{page: plainTemplate, files: map[string][]byte{}}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, req.Host+req.URL.Path)
		s.auth = append(s.auth, req.Header.Get("Authorization"))
		data, ok := s.files[req.URL.Path]
		switch {
		case req.Host == host(s.Server) && ok:
			w.Header().Set("ETag", `"`+req.URL.Path+`"`)
			if req.Header.Get("If-None-Match") == w.Header().Get("ETag") {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = w.Write(data)
		case req.URL.RawQuery == "ac-discovery=1" && req.URL.Path == "/":
			_, _ = w.Write([]byte(strings.ReplaceAll(s.page, "{SITE}", s.URL)))
		default:
			http.NotFound(w, req)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// add serves an archive at /NAME-VERSION.aci.
func (s *site) add(t *testing.T, at, manifest string) {
	t.Helper()
	s.files["/"+at+".aci"] = makeACI(t, manifest, 1000, compression.Gzip)
}

func (s *site) names(t *testing.T, f *Fetcher, o ImageOptions) *names {
	t.Helper()
	f.Insecure.TLS = true
	r, err := f.newRun(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	n := &names{run: r, finder: r.finder()}
	n.finder.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}
	return n
}

// get fetches by name, dependencies included.
func (n *names) get(ctx context.Context, text string) (appc.ImageID, error) {
	p, err := distribution.ParseAppc(text)
	if err != nil {
		return "", err
	}
	id, err := n.image(ctx, wanted{Appc: p, text: text})
	if err != nil {
		return "", err
	}
	return id, n.dependencies(ctx, id)
}

func (s *site) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := strings.ReplaceAll(strings.Join(s.requests, "\n"), host(s.Server), "SITE")
	s.requests = nil
	return seen
}

func TestDiscover(t *testing.T) {
	store := newFakeStore(t)
	f, out := fetcher(store)
	s := newSite(t)
	s.add(t, "example.com/a-latest", imageManifest("example.com/a", hostPlatformLabels("1")))
	s.add(t, "example.com/a-2", imageManifest("example.com/a", hostPlatformLabels("2")))
	id, err := s.names(t, f, ImageOptions{}).get(t.Context(), "example.com/a")
	if err != nil {
		t.Fatal(err)
	}
	if want := "example.com/a\nexample.com/\nSITE/example.com/a-latest.aci"; s.seen() != want {
		t.Errorf("requests %q", s.seen())
	}
	u := s.URL + "/example.com/a-latest.aci"
	out.has(t, "image: searching for app image example.com/a",
		"image: meta tag 'ac-discovery' not found on example.com/a: https://example.com/a?ac-discovery=1: expected a 200 OK got 404",
		fmt.Sprintf("image: remote fetching from URL %q", u), "image: fetching image from "+u)
	if r := store.remotes[u]; r.Key != id || r.SigURL != u+".asc" || !store.images[id].latest {
		t.Errorf("%+v, %t", r, store.images[id].latest)
	}
	// The store is enough, except for an update, which finds it unchanged.
	for _, policy := range []Policy{New, Never} {
		if got, err := s.names(t, f, ImageOptions{Policy: policy}).get(t.Context(), "example.com/a"); err != nil || got != id || s.seen() != "" {
			t.Errorf("%s: %s, %v", policy, got, err)
		}
	}
	got, err := s.names(t, f, ImageOptions{Policy: Update}).get(t.Context(), "example.com/a")
	if err != nil || got != id || !strings.HasSuffix(s.seen(), "a-latest.aci") || store.imports != 1 {
		t.Errorf("%s, %v, %d imports", got, err, store.imports)
	}
	two, err := s.names(t, f, ImageOptions{}).get(t.Context(), "example.com/a:2")
	if err != nil || two == id || store.images[two].latest {
		t.Errorf("%s, %v", two, err)
	}
	if _, err := s.names(t, f, ImageOptions{Policy: Never}).get(t.Context(), "example.com/a:3"); err == nil {
		t.Error("found without asking")
	}
	if left := store.leftovers(t); len(left) > 2 { // the blobs
		t.Errorf("left over: %v", left)
	}
}

// What is not what was asked for is not kept, unless the user does without
// verification.
func TestDiscoverMismatch(t *testing.T) {
	for name, tc := range map[string]struct{ manifest, err string }{
		"name":    {imageManifest("example.com/b", hostPlatformLabels("1")), `error when reading the app name: "example.com/a" expected but "example.com/b" found`},
		"version": {imageManifest("example.com/a", hostPlatformLabels("2")), `requested value for label "version": "1" differs from fetched aci label value: "2"`},
		"no os":   {imageManifest("example.com/a", `,"labels":[{"name":"version","value":"1"}]`), `requested label "os" not provided by the image manifest`},
		"no json": {`{"acKind":`, "unexpected end of JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			store := newFakeStore(t)
			f, out := fetcher(store)
			s := newSite(t)
			s.add(t, "example.com/a-1", tc.manifest)
			f.Insecure.Image = false
			_, err := s.names(t, f, ImageOptions{Trusted: true}).get(t.Context(), "example.com/a:1")
			wantError(t, err, `image name "example.com/a:1": error downloading ACI: `, tc.err)
			if len(store.images) != 0 || len(store.remotes) != 0 || len(store.leftovers(t)) != 0 {
				t.Errorf("kept: %v, %v", store.remotes, store.leftovers(t))
			}
			if name == "no json" {
				return
			}
			f.Insecure.Image = true
			if _, err := s.names(t, f, ImageOptions{}).get(t.Context(), "example.com/a:1"); err != nil {
				t.Error(err)
			}
			out.has(t, "image: warning: "+tc.err)
			// It was fetched unverified, and is unchanged, but is no better for it.
			f.Insecure.Image = false
			_, err = s.names(t, f, ImageOptions{Policy: Update, Trusted: true}).get(t.Context(), "example.com/a:1")
			wantError(t, err, tc.err)
		})
	}
	// Nothing is asked for that would be refused anyway.
	f, _ := fetcher(newFakeStore(t))
	f.Insecure.Image = false
	s := newSite(t)
	s.add(t, "example.com/a-1", imageManifest("example.com/a", hostPlatformLabels("1")))
	_, err := s.names(t, f, ImageOptions{}).get(t.Context(), "example.com/a:1")
	if err == nil || strings.Contains(s.seen(), ".aci\n") {
		t.Error(err)
	}
}

func TestDiscoverFallback(t *testing.T) {
	store := newFakeStore(t)
	f, out := fetcher(store)
	s := newSite(t)
	s.page = `<meta name="ac-discovery" content="example.com {SITE}/none/{name}.{ext}">` +
		`<meta name="ac-discovery" content="example.com {SITE}/wrong.{ext}">` +
		`<meta name="ac-discovery" content="example.com https://127.0.0.1:1/{name}.{ext}">`
	s.add(t, "wrong", imageManifest("example.com/b", hostPlatformLabels("1")))
	f.Insecure.Image = false
	_, err := s.names(t, f, ImageOptions{Trusted: true}).get(t.Context(), "example.com/a")
	wantError(t, err, "bad HTTP status code: 404; ", `"example.com/a" expected but "example.com/b" found; `, "connection refused")
	if strings.Contains(err.Error(), "\n") || len(store.images) != 0 {
		t.Errorf("%v", err)
	}
	s.page += plainTemplate
	s.add(t, "example.com/a-latest", imageManifest("example.com/a", hostPlatformLabels("1")))
	if _, err := s.names(t, f, ImageOptions{Trusted: true}).get(t.Context(), "example.com/a"); err != nil {
		t.Error(err)
	}
	out.has(t, "trying the next place")
}

func TestDiscoverAuth(t *testing.T) {
	for kind, want := range map[config.AuthType]string{config.AuthOAuth: "Bearer tok", config.AuthAWS: ""} {
		f, _ := fetcher(newFakeStore(t))
		s := newSite(t)
		f.Auth = credentials{auth: map[string]config.AuthEntry{"example.com": {Type: kind, Token: "tok", AWS: config.AWS{AccessKeyID: "a", SecretAccessKey: "s"}}}}
		s.add(t, "example.com/a-latest", imageManifest("example.com/a", hostPlatformLabels("1")))
		if _, err := s.names(t, f, ImageOptions{}).get(t.Context(), "example.com/a"); err != nil {
			t.Fatal(err)
		}
		if s.auth[0] != want || s.auth[1] != want || s.auth[2] != "" {
			t.Errorf("%s: %q", kind, s.auth)
		}
	}
}

func TestDiscoverHints(t *testing.T) {
	store := newFakeStore(t)
	f, _ := fetcher(store)
	s := newSite(t)
	importACI(t, f, imageManifest("example.com/stored", hostPlatformLabels("1")))
	s.page = ""
	for text, want := range map[string]string{
		"example.com/a":      "check the name, or give the URL or file",
		"busybox:1":          "write docker://busybox:1 for an image in a registry",
		"example.com/stored": "--pull-policy=new",
	} {
		_, err := s.names(t, f, ImageOptions{Policy: Update}).get(t.Context(), text)
		name, _, _ := strings.Cut(text, ":")
		wantError(t, err, fmt.Sprintf("discovery failed for %q: discovery failed: https://%s?ac-discovery=1: ", name, name))
		if !strings.Contains(hint.Of(err), want) {
			t.Errorf("%s: hint %q", text, hint.Of(err))
		}
	}
	n := s.names(t, f, ImageOptions{})
	n.finder.TLS = false
	_, err := n.get(t.Context(), "example.com/a")
	if !strings.Contains(hint.Of(err), "--insecure-options=tls") {
		t.Errorf("%v: %q", err, hint.Of(err))
	}
	n.finder.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
	}
	_, err = n.get(t.Context(), "example.com/a")
	if !strings.Contains(hint.Of(err), "--insecure-options=http") {
		t.Errorf("%v: %q", err, hint.Of(err))
	}
}

// wantStore takes no image that is not the one wanted, as the real one does.
type wantStore struct{ *fakeStore }

func (s wantStore) ImportACI(ctx context.Context, r io.Reader, o ImportOptions) (appc.ImageID, error) {
	if o.WantID == "" {
		return s.fakeStore.ImportACI(ctx, r, o)
	}
	_, err := io.Copy(io.Discard, r)
	return "", errors.Join(err, fmt.Errorf("image hash does not match expected (%s)", o.WantID))
}

func TestDiscoverDependencies(t *testing.T) {
	labels := hostPlatformLabels("1")
	image := func(name string, dependencies ...string) string {
		return imageManifest(name, labels+`,"dependencies":[`+strings.Join(dependencies, ",")+`]`)
	}
	named := func(name string) string {
		return fmt.Sprintf(`{"imageName":%q,"labels":[{"name":"version","value":"1"}]}`, name)
	}
	store := newFakeStore(t)
	f, _ := fetcher(wantStore{store})
	f.Insecure.Image = false
	s := newSite(t)
	for name, dependencies := range map[string][]string{
		"top": {named("example.com/left"), named("example.com/right")}, "left": {named("example.com/base")},
		"right": {named("example.com/base"), named("example.com/left")}, "base": nil,
		"ring1": {named("example.com/ring2")}, "ring2": {named("example.com/ring1")},
		"wrong-id":   {`{"imageName":"example.com/fresh","labels":[{"name":"version","value":"1"}],"imageID":"sha512-` + strings.Repeat("0", 128) + `"}`},
		"wrong-size": {`{"imageName":"example.com/base","labels":[{"name":"version","value":"1"}],"size":7}`},
		"wrong-name": {named("example.com/liar")}, "missing": {named("example.com/nowhere")},
	} {
		s.add(t, "example.com/"+name+"-1", image("example.com/"+name, dependencies...))
	}
	s.add(t, "example.com/fresh-1", image("example.com/fresh"))
	s.add(t, "example.com/liar-1", image("example.com/other"))
	trusted := ImageOptions{Trusted: true, Policy: Update}
	if _, err := s.names(t, f, trusted).get(t.Context(), "example.com/top:1"); err != nil {
		t.Fatal(err)
	}
	var archives []string
	for line := range strings.Lines(s.seen()) {
		if strings.HasPrefix(line, "SITE") {
			archives = append(archives, strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "SITE/example.com/"), "-1.aci"))
		}
	}
	if got := strings.Join(archives, " "); got != "top left right base" {
		t.Errorf("fetched %s", got)
	}
	n := len(store.images)
	for name, want := range map[string]string{
		"ring1":      "dependency cycle: example.com/ring2 depends on example.com/ring1",
		"wrong-id":   "dependency of example.com/wrong-id: image name \"example.com/fresh:1\": error downloading ACI: ",
		"wrong-size": "dependency of example.com/wrong-size: example.com/base: size 7 expected but ",
		"wrong-name": `"example.com/liar" expected but "example.com/other" found`,
		"missing":    "bad HTTP status code: 404",
	} {
		_, err := s.names(t, f, trusted).get(t.Context(), "example.com/"+name+":1")
		wantError(t, err, want)
	}
	if got := len(store.images); got != n+6 { // the images themselves and ring2
		t.Errorf("%d images, not %d", got, n+6)
	}
}

func TestDependencyCaps(t *testing.T) {
	f, _ := fetcher(newFakeStore(t))
	labels := hostPlatformLabels("1")
	for i := range maxDependencyDepth + 2 {
		importACI(t, f, imageManifest(fmt.Sprintf("x/deep%d", i), labels+fmt.Sprintf(`,"dependencies":[{"imageName":"x/deep%d"}]`, i+1)))
	}
	importACI(t, f, imageManifest(fmt.Sprintf("x/deep%d", maxDependencyDepth+2), labels))
	_, err := f.Fetch(t.Context(), "x/deep0", ImageOptions{})
	wantError(t, err, "image has dependencies more than 64 levels deep")
	if _, err := f.Fetch(t.Context(), "x/deep2", ImageOptions{}); err != nil {
		t.Error(err)
	}
	many := strings.Repeat(`{"imageName":"x/deep66"},`, maxDependency+1)
	importACI(t, f, imageManifest("x/many", labels+`,"dependencies":[`+strings.TrimSuffix(many, ",")+`]`))
	_, err = f.Fetch(t.Context(), "x/many", ImageOptions{})
	wantError(t, err, "image has more than 1000 dependencies")
}

// Each image needs a signature of its own, which is where the page says.
func TestDiscoverSigned(t *testing.T) {
	alice, mallory := newSigner(t, "Alice"), newSigner(t, "Mallory")
	build := func(s *site, name string, by *signer, extra string) {
		data := makeACI(t, imageManifest("example.com/"+name, hostPlatformLabels("1")+extra), 1000, compression.Gzip)
		s.files["/aci/example.com/"+name] = data
		if by != nil {
			s.files["/aci.asc/example.com/"+name] = by.sign(t, data)
		}
	}
	needs := func(name string) string { return fmt.Sprintf(`,"dependencies":[{"imageName":"example.com/%s"}]`, name) }
	for name, tc := range map[string]struct {
		base *signer
		err  string
	}{
		"good":     {alice, ""},
		"unsigned": {nil, "dependency of example.com/top: image name \"example.com/base\": error downloading the signature file: "},
		"mallory":  {mallory, "signature made by unknown entity"},
	} {
		t.Run(name, func(t *testing.T) {
			store := newFakeStore(t)
			f, out := secureFetcher(t, store, alice, "example.com")
			var asked []string
			f.TrustKeys = func(_ context.Context, name appc.Identifier) { asked = append(asked, name.String()) }
			s := newSite(t)
			s.page = `<meta name="ac-discovery" content="example.com {SITE}/{ext}/{name}">`
			build(s, "top", alice, needs("base"))
			build(s, "base", tc.base, "")
			id, err := s.names(t, f, ImageOptions{}).get(t.Context(), "example.com/top:1")
			if strings.Join(asked, " ") != "example.com/top example.com/base" {
				t.Errorf("looked for keys of %q", asked)
			}
			if tc.err != "" {
				wantError(t, err, tc.err)
				if len(store.images) != 1 || strings.Contains(s.seen(), "/aci/example.com/base") {
					t.Errorf("%d images", len(store.images))
				}
				return
			}
			if err != nil || store.images[id].verified == nil || len(store.images) != 2 {
				t.Fatalf("%v, %d images", err, len(store.images))
			}
			out.has(t, "image: signature verified:")
			if sig := store.remotes[s.URL+"/aci/example.com/top"].SigURL; sig != s.URL+"/aci.asc/example.com/top" {
				t.Error(sig)
			}
		})
	}
	// A signature that the user gives is of the image, not of its dependencies.
	store := newFakeStore(t)
	f, _ := secureFetcher(t, store, alice, "example.com")
	s := newSite(t)
	s.page = `<meta name="ac-discovery" content="example.com {SITE}/{ext}/{name}">`
	build(s, "top", nil, "")
	signature := filepath.Join(t.TempDir(), "sig")
	if err := os.WriteFile(signature, alice.sign(t, s.files["/aci/example.com/top"]), 0o600); err != nil {
		t.Fatal(err)
	}
	n := s.names(t, f, ImageOptions{Signature: signature})
	w := wanted{Appc: distribution.Appc{Name: "example.com/top"}, text: "example.com/top", signature: signature}
	if _, err := n.image(t.Context(), w); err != nil {
		t.Error(err)
	}
}
