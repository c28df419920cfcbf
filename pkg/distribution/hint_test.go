// SPDX-License-Identifier: Apache-2.0

package distribution_test

import (
	"testing"

	"github.com/rkt/rkt/v2/pkg/distribution"
	"github.com/rkt/rkt/v2/pkg/hint"
)

func TestHints(t *testing.T) {
	const suffix = `the name of an image archive has to end in ".aci"`
	for image, want := range map[string]string{
		"127.0.0.1:5000/a/b:v1":            "write docker://127.0.0.1:5000/a/b:v1 for the image in the registry, 127.0.0.1_5000/a/b:v1 for the one in the store",
		"quay.io:443/a/b@" + someDigest:    "write docker://quay.io:443/a/b@" + someDigest + " for the image in the registry, quay.io_443/a/b for the one in the store",
		"busybox@" + someDigest:            "write docker://busybox@" + someDigest + " for the image in the registry, registry-1.docker.io/library/busybox for the one in the store",
		"Not/a/Name":                       "",
		"a:b:c":                            "",
		"/x/saved.tar":                     suffix + "; write docker-archive:/x/saved.tar or oci-archive:/x/saved.tar for what docker or podman saved",
		"/x/saved.TGZ":                     suffix + "; write docker-archive:/x/saved.TGZ or oci-archive:/x/saved.TGZ for what docker or podman saved",
		"/etc/passwd":                      suffix,
		"https://example.com/saved.tar":    suffix,
		"cimd:aci-archive:v=0:x%3A%2F%2Fa": suffix,
	} {
		t.Run(image, func(t *testing.T) {
			_, err := distribution.Parse(image)
			checkHint(t, err, want)
		})
	}
	_, err := distribution.ParseAppc("docker://busybox:1")
	checkHint(t, err, "name an image in the store by its ID or its name, here registry-1.docker.io/library/busybox:1")
}

func checkHint(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if got := hint.Of(err); got != want {
		t.Errorf("hint %q, want %q", got, want)
	}
}
