// SPDX-License-Identifier: Apache-2.0

//go:build functional

package realpods

import (
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// TestImages makes the images, so that the time this takes the first time is
// not counted as that of a pod.
func TestImages(t *testing.T) {
	testenv.NeedsRoot(t)
	for name, layout := range map[string]func(harness.T) string{"nginx": harness.NginxLayout, "postgresql": harness.PostgresLayout} {
		t.Log(name, layout(t))
	}
}
