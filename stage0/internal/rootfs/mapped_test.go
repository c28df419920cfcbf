// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

// The answer depends on the machine. What the attempt makes is gone after it.
func TestTryMapped(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	dir := t.TempDir()
	err := TryMapped(dir)
	var no *idmap.UnsupportedError
	if err != nil && !errors.As(err, &no) {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, poddir.Tmp))
	if err != nil && no == nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if err := TryMapped("/proc"); !errors.As(err, &no) {
		t.Errorf("/proc: %v", err)
	}
	if err := TryMapped(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
