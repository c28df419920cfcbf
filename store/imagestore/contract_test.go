// SPDX-License-Identifier: Apache-2.0

package imagestore_test

import (
	"testing"

	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
)

// open opens a new store without trees.
func open(t testing.TB) *imagestore.Store {
	t.Helper()
	return openAt(t, t.TempDir())
}

func openAt(t testing.TB, dir string) *imagestore.Store {
	t.Helper()
	s, err := imagestore.Open(t.Context(), dir, imagestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestContract runs the suite as an unprivileged user has the store: without trees.
func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t) })
}
