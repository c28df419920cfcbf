// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rkt/rkt/v2/pkg/cosign"
)

// cmdRegistry is "registry": $REG is the address of an empty registry.
func cmdRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: registry")
	}
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(s.Close)
	ts.Setenv("REG", strings.TrimPrefix(s.URL, "http://"))
}

// cmdPushImage is "pushimage REFERENCE": an image of two random layers. $DIGEST is
// that of its manifest.
func cmdPushImage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pushimage REFERENCE")
	}
	ref, err := name.ParseReference(args[0])
	ts.Check(err)
	img, err := random.Image(1000, 2)
	ts.Check(err)
	config, err := img.ConfigFile()
	ts.Check(err)
	config.OS, config.Architecture = "linux", "amd64"
	config.Config.Cmd = []string{"/hello"}
	img, err = mutate.ConfigFile(img, config)
	ts.Check(err)
	ts.Check(remote.Write(ref, img))
	digest, err := img.Digest()
	ts.Check(err)
	ts.Setenv("DIGEST", digest.String())
}

// cmdMkCosign is "mkcosign NAME": NAME.pub and NAME.key are a key pair, $NAME
// is the ID of the key.
func cmdMkCosign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mkcosign NAME")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	ts.Check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), secret, 0o600))
	sum := sha256.Sum256(public)
	ts.Setenv(args[0], hex.EncodeToString(sum[:]))
}

// cmdCosign is "cosign REFERENCE NAME": the image is signed with the key of mkcosign NAME.
func cmdCosign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cosign REFERENCE NAME")
	}
	parsed, err := x509.ParsePKCS8PrivateKey([]byte(ts.ReadFile(args[1] + ".key")))
	ts.Check(err)
	ref, err := name.ParseReference(args[0])
	ts.Check(err)
	d, err := remote.Head(ref)
	ts.Check(err)
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`,
		ref.Context().Name(), d.Digest.String())
	sum := sha256.Sum256(payload)
	sig, err := ecdsa.SignASN1(rand.Reader, parsed.(*ecdsa.PrivateKey), sum[:])
	ts.Check(err)
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
		Layer:       static.NewLayer(payload, cosign.PayloadType),
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig)},
		MediaType:   cosign.PayloadType,
	})
	ts.Check(err)
	tag, err := cosign.Tag(d.Digest.String())
	ts.Check(err)
	ts.Check(remote.Write(ref.Context().Tag(tag), img))
}
