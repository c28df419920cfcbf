// SPDX-License-Identifier: Apache-2.0

package treestore_test

import (
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/store/storetest"
)

func TestCheckOwners(t *testing.T) {
	s := open(t)
	key, _ := s.aci(t, storetest.Manifest("example.com/aci"), file{Name: "f", Content: "f"})
	tree := s.render(t, key)
	must(t, s.trees.CheckOwners(t.Context(), tree, 1))
	err := s.trees.CheckOwners(t.Context(), tree, 0)
	if err == nil || !strings.Contains(err.Error(), `uid 0 or gid 0 are out of range 0`) {
		t.Errorf("error %v", err)
	}
}
