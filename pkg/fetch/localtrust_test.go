// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/cosign"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// bundle is what cosign 3 writes for an image.
func (c *cosigner) bundle(t testing.TB, digest string) []byte {
	t.Helper()
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`,
		strings.TrimPrefix(digest, "sha256:"))
	sum := sha256.Sum256(fmt.Appendf(nil, "DSSEv1 28 application/vnd.in-toto+json %d %s", len(statement), statement))
	sig, err := ecdsa.SignASN1(rand.Reader, c.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return []byte(fmt.Sprintf(`{"mediaType":%q,"verificationMaterial":{"publicKey":{"hint":""}},"dsseEnvelope":{"payload":%q,"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":%q}]}}`,
		cosign.BundleType, base64.StdEncoding.EncodeToString([]byte(statement)), base64.StdEncoding.EncodeToString(sig)))
}

// TestBundleReferrer: the bundle that refers to an image makes it good.
func TestBundleReferrer(t *testing.T) {
	alice, mallory := newCosigner(t), newCosigner(t)
	for name, tt := range map[string]struct {
		by   *cosigner
		of   string // "": the image
		want string
	}{
		"good":          {by: alice},
		"another key":   {by: mallory, want: cosign.ErrNotSigned.Error()},
		"another image": {by: alice, of: digestOf("sha256", []byte("x")), want: cosign.ErrOtherHash.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, true)
			h.inner = registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
			image := makeImage(t, "x", linuxAMD64, compression.Gzip)
			h.push(t, "app", "1", image)
			of := tt.of
			if of == "" {
				of = image.manifest
			}
			b := tt.by.bundle(t, of)
			refers := map[string]any{
				"artifactType": cosign.BundleType,
				// The registry takes the artifact type from here.
				"config":  map[string]any{"mediaType": cosign.BundleType, "digest": digestOf("sha256", []byte("{}")), "size": 2},
				"subject": map[string]any{"mediaType": ociconv.OCIManifest, "digest": image.manifest, "size": len(image.blobs[image.manifest])},
			}
			h.pushSignatures(t, "app", "", refers, [][]byte{b}, map[string]any{"mediaType": cosign.BundleType, "digest": digestOf("sha256", b), "size": len(b)})
			f, store, _ := verifying(t)
			alice.trust(t, f.Policies, "docker://"+host(h.Server)+"/app")
			id, err := f.Fetch(t.Context(), h.ref("app:1"), ImageOptions{})
			if tt.want != "" {
				wantError(t, err, tt.want)
				if store.imports != 0 {
					t.Error("something was kept")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v := store.images[id].verified; v == nil || v.Method != MethodCosign {
				t.Errorf("verdict %+v", v)
			}
		})
	}
}

// signedLayout is a layout with an image and a signature by c, as cosign save writes it.
func (c *cosigner) signedLayout(t *testing.T, image *ociImage, bundle bool) map[string]string {
	t.Helper()
	payload := signedPayload("quay.io/team/app", image.manifest)
	layer := c.layer(t, payload)
	annotations := map[string]string{"kind": "dev.cosignproject.cosign/sigs"}
	artifact := ""
	if bundle {
		payload = c.bundle(t, image.manifest)
		layer = map[string]any{"mediaType": cosign.BundleType, "digest": digestOf("sha256", payload), "size": len(payload)}
		annotations, artifact = nil, cosign.BundleType
	}
	m, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": ociconv.OCIManifest, "layers": []any{layer},
		"config": map[string]any{"mediaType": testOCIConfig, "digest": digestOf("sha256", []byte("{}")), "size": 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := json.Marshal(map[string]any{
		"mediaType": ociconv.OCIManifest, "digest": digestOf("sha256", m), "size": len(m), "annotations": annotations, "artifactType": artifact,
	})
	if err != nil {
		t.Fatal(err)
	}
	files := layoutFiles(named(image, "1")+","+string(entry), image)
	for _, data := range [][]byte{m, payload} {
		files["blobs/sha256/"+digestOf("sha256", data)[len("sha256:"):]] = string(data)
	}
	return files
}

// TestLocalPolicies: images of local files are accepted by the rules for where they are.
func TestLocalPolicies(t *testing.T) {
	alice, mallory := newCosigner(t), newCosigner(t)
	image := makeImage(t, "x", linuxAMD64, compression.Gzip)
	key, err := json.Marshal(string(alice.pem(t)))
	if err != nil {
		t.Fatal(err)
	}
	dir := writeFiles(t, alice.signedLayout(t, image, false))
	bundled := writeFiles(t, alice.signedLayout(t, image, true))
	others := writeFiles(t, mallory.signedLayout(t, image, true))
	plain := writeFiles(t, layoutFiles(named(image, "1"), image))
	archive := writeTar(t, layoutFiles(named(image, "1"), image), compression.Gzip)
	saved := writeTar(t, dockerSaved(t, map[string]*ociImage{"a:1": image}), compression.None)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(plain, link); err != nil {
		t.Fatal(err)
	}
	digest := fmt.Sprintf(`"requirement":"digest","digests":[%q]`, image.manifest)
	other := fmt.Sprintf(`"requirement":"digest","digests":[%q]`, digestOf("sha256", []byte("x")))
	signed := fmt.Sprintf(`"requirement":"sigstore","key":%s`, key)
	for name, tt := range map[string]struct{ image, scope, rule, want string }{
		"no rule":            {"oci:" + plain, "docker://quay.io", `"requirement":"insecureAcceptAnything"`, "signature verification is not supported for oci:" + plain},
		"pinned":             {"oci:" + plain, "oci:" + plain, digest, ""},
		"pinned, above":      {"oci:" + plain, "oci:" + filepath.Dir(plain), digest, ""},
		"pinned, beside":     {"oci:" + plain, "oci:" + plain[:len(plain)-1], digest, "not supported"},
		"other form":         {"oci:" + plain, "oci-archive:" + plain, digest, "not supported"},
		"other digest":       {"oci:" + plain, "oci:" + plain, other, "not one that is pinned"},
		"reference pins":     {"oci:" + plain + "@" + image.manifest, "oci:/", `"requirement":"digest"`, ""},
		"reference does not": {"oci:" + plain + ":1", "oci:/", `"requirement":"digest"`, "not one that is pinned"},
		"link":               {"oci:" + link, "oci:" + link, digest, "not supported"},
		"link to it":         {"oci:" + link, "oci:" + plain, digest, ""},
		"dots":               {"oci:" + plain + "/../my-image", "oci:" + plain, digest, ""},
		"archive":            {"oci-archive:" + archive, "oci-archive:" + archive, digest, ""},
		"saved":              {"docker-archive:" + saved, "docker-archive:/", digest, "not one that is pinned"},
		"reject":             {"docker-archive:" + saved, "*", `"requirement":"reject"`, "rejects"},
		"anything":           {"docker-archive:" + saved, "docker-archive:" + saved, `"requirement":"insecureAcceptAnything"`, ""},
		"signed":             {"oci:" + dir + ":1", "oci:" + dir, signed, ""},
		"bundle":             {"oci:" + bundled + ":1", "oci:" + bundled, signed, ""},
		"bundle of another":  {"oci:" + others + ":1", "oci:" + others, signed, cosign.ErrNotSigned.Error()},
		"signature missing":  {"oci:" + plain, "oci:" + plain, signed, "no signature found beside the image"},
	} {
		t.Run(name, func(t *testing.T) {
			f, store, _ := verifying(t)
			writePolicy(t, f.Policies, "a", fmt.Sprintf(`{"scope":%q,%s}`, tt.scope, tt.rule))
			id, err := f.Fetch(t.Context(), tt.image, ImageOptions{})
			if tt.want != "" {
				wantError(t, err, tt.want)
				if store.imports != 0 || len(store.layers) != 0 {
					t.Error("something was kept")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v := store.images[id].verified; (v == nil) != strings.Contains(tt.rule, "insecure") {
				t.Errorf("verdict %+v", v)
			}
		})
	}
}
