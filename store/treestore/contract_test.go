// SPDX-License-Identifier: Apache-2.0

package treestore_test

import (
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
	"github.com/rkt/rkt/v2/store/treestore"
)

type stores struct {
	dir    string
	images *imagestore.Store
	trees  *treestore.Store
}

// open opens new stores.
func open(t testing.TB) *stores {
	t.Helper()
	testenv.NeedsRoot(t)
	return openAt(t, t.TempDir())
}

func openAt(t testing.TB, dir string) *stores {
	t.Helper()
	images, err := imagestore.Open(t.Context(), dir, imagestore.Options{})
	must(t, err)
	t.Cleanup(func() { _ = images.Close() })
	trees, err := treestore.Open(t.Context(), dir, images, treestore.Options{})
	must(t, err)
	return &stores{dir, images, trees}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestContract runs the suite as root has the store: with trees.
func TestContract(t *testing.T) {
	testenv.NeedsRoot(t)
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t).images })
}
