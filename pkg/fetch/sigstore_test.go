// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/cosign"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
)

// cosigner signs as cosign does with a key pair.
type cosigner struct{ key *ecdsa.PrivateKey }

func newCosigner(t testing.TB) *cosigner {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &cosigner{key}
}

func (c *cosigner) pem(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(c.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// trust makes the key good for a scope.
func (c *cosigner) trust(t testing.TB, s *trustpolicy.Store, prefix string) string {
	t.Helper()
	scope, err := trustpolicy.ParseScope(prefix)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := s.AddKey(scope, c.pem(t))
	if err != nil {
		t.Fatal(err)
	}
	return key.ID()
}

func signedPayload(reference, digest string) []byte {
	return []byte(fmt.Sprintf(`{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`,
		reference, digest))
}

// layer is a payload with its signature, as a layer of a signature manifest.
func (c *cosigner) layer(t testing.TB, payload []byte) map[string]any {
	t.Helper()
	sum := sha256.Sum256(payload)
	sig, err := ecdsa.SignASN1(rand.Reader, c.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signatureLayer(payload, sig)
}

func signatureLayer(payload, sig []byte) map[string]any {
	return map[string]any{
		"mediaType": cosign.PayloadType, "digest": digestOf("sha256", payload), "size": len(payload),
		"annotations": map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig)},
	}
}

// pushSignatures puts a signature manifest at a tag, with its payloads.
func (h *hub) pushSignatures(t testing.TB, repo, tag string, extra map[string]any, payloads [][]byte, layers ...map[string]any) {
	t.Helper()
	for _, p := range append(payloads, []byte("{}")) {
		h.do(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digestOf("sha256", p), "application/octet-stream", p)
	}
	m := map[string]any{
		"schemaVersion": 2, "mediaType": ociconv.OCIManifest, "layers": layers,
		"config": map[string]any{"mediaType": testOCIConfig, "digest": digestOf("sha256", []byte("{}")), "size": 2},
	}
	for k, v := range extra {
		m[k] = v
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if tag == "" {
		tag = digestOf("sha256", data)
	}
	h.do(t, http.MethodPut, "/v2/"+repo+"/manifests/"+tag, ociconv.OCIManifest, data)
}

func sigTag(t testing.TB, digest string) string {
	t.Helper()
	tag, err := cosign.Tag(digest)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

// verifying is a fetcher that verifies, with its store and policies.
func verifying(t *testing.T) (*Fetcher, *fakeStore, *output) {
	store := newFakeStore(t)
	f, out := fetcher(store)
	f.Insecure = Insecure{TLS: true}
	f.Policies = &trustpolicy.Store{LocalDir: t.TempDir()}
	return f, store, out
}

func writePolicy(t *testing.T, s *trustpolicy.Store, name, rules string) {
	t.Helper()
	dir := filepath.Join(s.LocalDir, "trust.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := `{"rktKind":"trustPolicy","rktVersion":"v1","rules":[` + rules + `]}`
	if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCosign(t *testing.T) {
	h := newHub(t, true)
	image, other := makeImage(t, "x", linuxAMD64, compression.Gzip), makeImage(t, "y", linuxAMD64, compression.Gzip)
	h.push(t, "team/app", "1", image)
	h.push(t, "team/apple", "1", other)
	name := host(h.Server) + "/team/app"
	alice := newCosigner(t)
	payload := signedPayload(name, image.manifest)
	h.pushSignatures(t, "team/app", sigTag(t, image.manifest), nil, [][]byte{payload}, alice.layer(t, payload))

	f, store, out := verifying(t)
	// Without policy it is refused, before the registry is asked.
	h.seen("")
	_, err := f.Fetch(t.Context(), h.ref("team/app:1"), ImageOptions{})
	wantError(t, err, "signature verification for docker images is not supported (try --insecure-options=image)")
	if want := "rkt trust --cosign-key=FILE --prefix=docker://" + name; !strings.Contains(hint.Of(err), want) {
		t.Errorf("hint %q", hint.Of(err))
	}
	if seen := h.seen(""); len(seen) > 0 {
		t.Errorf("requests %v", seen)
	}
	id := alice.trust(t, f.Policies, "docker://"+name)
	for _, policy := range []Policy{New, Update} {
		got, err := f.Fetch(t.Context(), h.ref("team/app:1"), ImageOptions{Policy: policy})
		if err != nil {
			t.Fatal(err)
		}
		want := Verification{Method: MethodCosign, Fingerprint: id, Prefix: "docker://" + name}
		if v := store.images[got].verified; v == nil || *v != want {
			t.Errorf("recorded %+v", v)
		}
	}
	out.has(t, "signature verified:\n  cosign key "+id)
	// Another name below which there is no key.
	_, err = f.Fetch(t.Context(), h.ref("team/apple:1"), ImageOptions{})
	wantError(t, err, "not supported")
	// No longer trusted.
	if _, err := f.Policies.RemoveKey(id, nil); err != nil {
		t.Fatal(err)
	}
	newCosigner(t).trust(t, f.Policies, "docker://"+host(h.Server)+"/team")
	_, err = f.Fetch(t.Context(), h.ref("team/app:1"), ImageOptions{Policy: Update})
	wantError(t, err, `image "`+name+`:1" verification failed: no signature by a trusted key`)
	// An image that nobody signed.
	_, err = f.Fetch(t.Context(), h.ref("team/apple:1"), ImageOptions{})
	wantError(t, err, "no signature found in the registry")
	if store.imports != 1 || len(store.layers) != 1 || len(store.leftovers(t)) != 0 {
		t.Errorf("%d images, %d layers, %v", store.imports, len(store.layers), store.leftovers(t))
	}
	f.Insecure.Image = true
	if _, err = f.Fetch(t.Context(), h.ref("team/apple:1"), ImageOptions{}); err != nil {
		t.Error(err)
	}
}

// TestCosignVerdictOfStored: an image that came in unverified gets its verdict later.
func TestCosignVerdictOfStored(t *testing.T) {
	h := newHub(t, true)
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	h.push(t, "app", "1", image)
	f, store, _ := verifying(t)
	f.Insecure.Image = true
	id, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{})
	if err != nil || store.images[id].verified != nil {
		t.Fatal(err)
	}
	f.Insecure.Image = false
	alice := newCosigner(t)
	alice.trust(t, f.Policies, "*")
	if _, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{Policy: Update}); err == nil {
		t.Error("an unsigned image passed because it is stored")
	}
	payload := signedPayload(host(h.Server)+"/app", image.manifest)
	h.pushSignatures(t, "app", sigTag(t, image.manifest), nil, [][]byte{payload}, alice.layer(t, payload))
	if _, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{Policy: Update}); err != nil || store.images[id].verified == nil || store.imports != 1 {
		t.Error(err, store.images[id].verified, store.imports)
	}
}

// TestCosignIndex: the index, or the manifest it leads to, may be what is signed.
func TestCosignIndex(t *testing.T) {
	for _, what := range []string{"index", "manifest"} {
		h := newHub(t, true)
		amd := makeImage(t, "amd", linuxAMD64, compression.Gzip)
		h.push(t, "app", "amd", amd)
		pushIndex(t, h, "app", "multi", ociconv.OCIIndex, entryFor(amd, "linux/amd64"))
		digest := amd.manifest
		if what == "index" {
			digest = digestOf("sha256", []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ociconv.OCIIndex, entryFor(amd, "linux/amd64"))))
		}
		alice := newCosigner(t)
		payload := signedPayload(host(h.Server)+"/app", digest)
		h.pushSignatures(t, "app", sigTag(t, digest), nil, [][]byte{payload}, alice.layer(t, payload))
		f, store, _ := verifying(t)
		f.Platform = ociconv.Platform{OS: "linux", Architecture: "amd64"}
		alice.trust(t, f.Policies, "docker://"+host(h.Server))
		for _, ref := range []string{"app:multi", "app@" + digest} {
			if _, err := f.Fetch(t.Context(), h.ref(ref), ImageOptions{}); err != nil {
				t.Errorf("%s, %s: %v", what, ref, err)
			}
		}
		if store.imports == 0 {
			t.Error("nothing imported")
		}
	}
}

// TestCosignReferrers: signatures that refer to the image, by API and by tag.
func TestCosignReferrers(t *testing.T) {
	for _, api := range []bool{true, false} {
		h := newHub(t, true)
		h.inner = registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(api))
		image := makeImage(t, "x", linuxAMD64, compression.Gzip)
		h.push(t, "app", "1", image)
		alice := newCosigner(t)
		payload := signedPayload(host(h.Server)+"/app", image.manifest)
		refers := map[string]any{
			"artifactType": signatureArtifact,
			"config":       map[string]any{"mediaType": signatureArtifact, "digest": digestOf("sha256", []byte("{}")), "size": 2},
			"subject":      map[string]any{"mediaType": ociconv.OCIManifest, "digest": image.manifest, "size": len(image.blobs[image.manifest])},
		}
		h.pushSignatures(t, "app", "sig", refers, [][]byte{payload}, alice.layer(t, payload))
		if !api {
			resp, err := h.Client().Get(h.URL + "/v2/app/manifests/sig")
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"artifactType":%q}`, ociconv.OCIManifest, digestOf("sha256", data), len(data), signatureArtifact)
			pushIndex(t, h, "app", strings.Replace(image.manifest, ":", "-", 1), ociconv.OCIIndex, entry)
		}
		f, _, _ := verifying(t)
		alice.trust(t, f.Policies, "docker://"+host(h.Server)+"/app")
		if _, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{}); err != nil {
			t.Errorf("api %v: %v", api, err)
		}
	}
}

// TestCosignHostile: nothing a registry does makes an image good.
func TestCosignHostile(t *testing.T) {
	alice, mallory := newCosigner(t), newCosigner(t)
	for name, tt := range map[string]struct {
		push func(t *testing.T, h *hub, i *ociImage, name string)
		want string
	}{
		"by another key": {func(t *testing.T, h *hub, i *ociImage, name string) {
			p := signedPayload(name, i.manifest)
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, [][]byte{p}, mallory.layer(t, p))
		}, "no signature by a trusted key"},
		"of another repository": {func(t *testing.T, h *hub, i *ociImage, name string) {
			p := signedPayload(name+"le", i.manifest)
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, [][]byte{p}, alice.layer(t, p))
		}, "signature is for another image name"},
		"of another registry": {func(t *testing.T, h *hub, i *ociImage, _ string) {
			p := signedPayload("example.com/app", i.manifest)
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, [][]byte{p}, alice.layer(t, p))
		}, "signature is for another image name"},
		"of another tag": {func(t *testing.T, h *hub, i *ociImage, name string) {
			p := signedPayload(name+":2", i.manifest)
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, [][]byte{p}, alice.layer(t, p))
		}, "signature is for another image name"},
		"of another manifest": {func(t *testing.T, h *hub, i *ociImage, name string) {
			p := signedPayload(name, "sha256:"+strings.Repeat("0", 64))
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, [][]byte{p}, alice.layer(t, p))
		}, "signature is for another manifest"},
		"payload is changed": {func(t *testing.T, h *hub, i *ociImage, name string) {
			p := signedPayload(name, i.manifest)
			l := alice.layer(t, append(p, ' '))
			l["digest"], l["size"] = digestOf("sha256", p), len(p)
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, [][]byte{p}, l)
		}, "no signature by a trusted key"},
		"payload has another digest": {func(t *testing.T, h *hub, i *ociImage, name string) {
			p, q := signedPayload(name, i.manifest), signedPayload(name+"x", i.manifest)
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, [][]byte{q}, alice.layer(t, p))
			h.set(func(w http.ResponseWriter, req *http.Request) bool {
				if req.URL.Path != "/v2/app/blobs/"+digestOf("sha256", p) {
					return false
				}
				_, _ = w.Write(append(p[:len(p)-1:len(p)-1], ' '))
				return true
			})
		}, "signed payload: digest does not match"},
		"payload is huge": {func(t *testing.T, h *hub, i *ociImage, name string) {
			p := append(signedPayload(name, i.manifest), strings.Repeat(" ", cosign.MaxPayload)...)
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, [][]byte{p}, alice.layer(t, p))
		}, "no signature found"},
		"payload has no size": {func(t *testing.T, h *hub, i *ociImage, name string) {
			p := append(signedPayload(name, i.manifest), strings.Repeat(" ", cosign.MaxPayload)...)
			l := alice.layer(t, p)
			l["size"] = -1
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, [][]byte{p}, l)
		}, "no signature found"},
		"payload is missing": {func(t *testing.T, h *hub, i *ociImage, name string) {
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, nil, alice.layer(t, signedPayload(name, i.manifest)))
		}, "signed payload: "},
		"other media type": {func(t *testing.T, h *hub, i *ociImage, name string) {
			p := signedPayload(name, i.manifest)
			l := alice.layer(t, p)
			l["mediaType"] = "application/json"
			h.pushSignatures(t, "app", sigTag(t, i.manifest), nil, [][]byte{p}, l)
		}, "no signature found"},
		"an index": {func(t *testing.T, h *hub, i *ociImage, _ string) {
			pushIndex(t, h, "app", sigTag(t, i.manifest), ociconv.OCIIndex)
		}, "signature manifest is of type"},
		"manifest is huge": {func(t *testing.T, h *hub, i *ociImage, name string) {
			p := signedPayload(name, i.manifest)
			extra := map[string]any{"annotations": map[string]string{"x": strings.Repeat("x", cosign.MaxManifest)}}
			h.pushSignatures(t, "app", sigTag(t, i.manifest), extra, [][]byte{p}, alice.layer(t, p))
		}, "signature manifest is larger than the limit"},
		"manifest is endless": {func(_ *testing.T, h *hub, _ *ociImage, _ string) {
			h.set(func(w http.ResponseWriter, req *http.Request) bool {
				if !strings.HasSuffix(req.URL.Path, ".sig") {
					return false
				}
				w.Header().Set("Content-Type", ociconv.OCIManifest)
				for chunk := make([]byte, 1<<20); ; {
					if _, err := w.Write(chunk); err != nil {
						return true
					}
				}
			})
		}, "larger than the limit"},
		"no JSON": {func(t *testing.T, h *hub, i *ociImage, _ string) {
			h.do(t, http.MethodPut, "/v2/app/manifests/"+sigTag(t, i.manifest), ociconv.OCIManifest, []byte("x"))
		}, "signature manifest: "},
		"registry fails": {func(_ *testing.T, h *hub, _ *ociImage, _ string) {
			h.set(func(w http.ResponseWriter, req *http.Request) bool {
				if strings.HasSuffix(req.URL.Path, ".sig") {
					w.WriteHeader(http.StatusBadGateway)
					return true
				}
				return false
			})
		}, "error downloading the signature: "},
		"endless referrers": {func(_ *testing.T, h *hub, _ *ociImage, _ string) {
			h.set(func(w http.ResponseWriter, req *http.Request) bool {
				if !strings.Contains(req.URL.Path, "/referrers/") {
					return false
				}
				for chunk := make([]byte, 1<<20); ; {
					if _, err := w.Write(chunk); err != nil {
						return true
					}
				}
			})
		}, "larger than the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, true)
			image := makeImage(t, "x", linuxAMD64, compression.Gzip)
			h.push(t, "app", "1", image)
			f, store, _ := verifying(t)
			alice.trust(t, f.Policies, "docker://"+host(h.Server)+"/app")
			tt.push(t, h, image, host(h.Server)+"/app")
			_, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{})
			wantError(t, err, "verification failed", tt.want)
			if store.imports != 0 || len(store.layers) != 0 || len(store.remotes) != 0 || len(store.leftovers(t)) != 0 {
				t.Errorf("something was kept: %v", store.leftovers(t))
			}
			if seen := h.seen("GET /v2/app/blobs/" + image.layers[0].Digest); len(seen) > 0 {
				t.Error("layers of a refused image were asked for")
			}
		})
	}
}

// TestCosignMany: a good signature counts among many bad ones, up to a limit.
func TestCosignMany(t *testing.T) {
	alice, mallory := newCosigner(t), newCosigner(t)
	for _, tt := range []struct {
		before int
		ok     bool
	}{{20, true}, {400, false}} {
		h := newHub(t, true)
		image := makeImage(t, "x", linuxAMD64, compression.Gzip)
		h.push(t, "app", "1", image)
		p := signedPayload(host(h.Server)+"/app", image.manifest)
		payloads, layers := [][]byte{p}, []map[string]any{}
		for i := range tt.before {
			q := append(signedPayload(host(h.Server)+"/app", image.manifest), strings.Repeat(" ", i+1)...)
			payloads, layers = append(payloads, q), append(layers, mallory.layer(t, q))
		}
		h.pushSignatures(t, "app", sigTag(t, image.manifest), nil, payloads, append(layers, alice.layer(t, p))...)
		f, _, _ := verifying(t)
		alice.trust(t, f.Policies, "*")
		h.seen("")
		if _, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{}); (err == nil) != tt.ok {
			t.Errorf("after %d: %v", tt.before, err)
		}
		if n := len(h.seen("GET /v2/app/blobs")); n > maxPayloads+5 {
			t.Errorf("%d blobs were asked for", n)
		}
	}
}

// TestPolicies: the rules are asked in order.
func TestPolicies(t *testing.T) {
	h := newHub(t, true)
	image, other := makeImage(t, "x", linuxAMD64, compression.Gzip), makeImage(t, "y", linuxAMD64, compression.Gzip)
	h.push(t, "app", "1", image)
	h.push(t, "app", "2", other)
	scope := "docker://" + host(h.Server) + "/app"
	rule := func(scope, requirement, more string) string {
		return fmt.Sprintf(`{"scope":%q,"requirement":%q%s}`, scope, requirement, more)
	}
	list := fmt.Sprintf(`,"digests":[%q]`, image.manifest)
	for name, tt := range map[string]struct {
		rules, ref, want string // want is an error; "": accepted, "method": with a verdict
	}{
		"reject":              {rule(scope, "reject", ""), "app:1", "trust policy"},
		"reject first":        {rule(scope, "reject", "") + "," + rule("*", "insecureAcceptAnything", ""), "app:1", "rejects"},
		"reject later":        {rule(scope, "digest", list) + "," + rule("*", "reject", ""), "app:2", "rejects"},
		"anything":            {rule(scope, "insecureAcceptAnything", ""), "app:1", ""},
		"elsewhere":           {rule(scope+"le", "insecureAcceptAnything", ""), "app:1", "not supported"},
		"pgp alone":           {rule("*", "pgp", ""), "app:1", "not supported"},
		"pgp does not decide": {rule("*", "pgp", "") + "," + rule("*", "insecureAcceptAnything", ""), "app:1", ""},
		"pinned":              {rule(scope, "digest", list), "app:1", "method"},
		"pinned by digest":    {rule(scope, "digest", list), "app@" + image.manifest, "method"},
		"other than pinned":   {rule(scope, "digest", list), "app:2", "its digest is not one that is pinned"},
		"other by digest":     {rule(scope, "digest", list), "app@" + other.manifest, "its digest is not one that is pinned"},
		"reference pins":      {rule(scope, "digest", ""), "app@" + image.manifest, "method"},
		"reference does not":  {rule(scope, "digest", ""), "app:1", "its digest is not one that is pinned"},
		"then anything":       {rule(scope, "digest", "") + "," + rule("*", "insecureAcceptAnything", ""), "app:1", ""},
		"misspelled":          {rule(scope, "rejct", ""), "app:1", `unknown requirement "rejct"`},
	} {
		t.Run(name, func(t *testing.T) {
			f, store, _ := verifying(t)
			writePolicy(t, f.Policies, "a", tt.rules)
			id, err := f.Fetch(t.Context(), h.ref(tt.ref), ImageOptions{})
			switch tt.want {
			case "", "method":
				if err != nil {
					t.Fatal(err)
				}
				if v := store.images[id].verified; (v != nil) != (tt.want == "method") || v != nil && (v.Method != MethodDigest || v.Fingerprint != image.manifest) {
					t.Errorf("verdict %+v", v)
				}
			default:
				wantError(t, err, tt.want)
				if store.imports != 0 || len(store.layers) != 0 {
					t.Error("something was kept")
				}
			}
		})
	}
}
