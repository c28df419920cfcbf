// SPDX-License-Identifier: Apache-2.0

//go:build functional

package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestFixtures makes the dear fixtures and looks at them with the
// distribution's own tools: what other tests take for granted.
func TestFixtures(t *testing.T) {
	addr := DockerRegistry(t)
	for name, dir := range map[string]string{"debian": DebianLayout(t), "redis": RedisLayout(t)} {
		SkopeoPush(t, dir, addr, name)
		out := Command(t, "skopeo", "inspect", "--tls-verify=false", "docker://"+addr+"/"+name)
		if len(out) == 0 {
			t.Errorf("skopeo inspect %s printed nothing", name)
		}
	}
}

// TestOddLayersUnpack shows that umoci can unpack the odd image, so that it
// can serve as the reference.
func TestOddLayersUnpack(t *testing.T) {
	layout := WriteLayout(t, OCIImage(t, OCIOptions{}, OddLayers()...))
	bundle := filepath.Join(t.TempDir(), "bundle")
	Command(t, "umoci", "unpack", "--image", layout+":"+Tag, bundle)
	tree := Scan(t, filepath.Join(bundle, "rootfs"), ScanOptions{})
	if _, ok := tree["etc/gone"]; !ok || len(tree) < 80 {
		t.Errorf("%d files in the tree, etc/gone there: %t", len(tree), ok)
	}
	for _, gone := range []string{"opaque/old", "opaque/new", "swap/link", "swap/dir/inside", "data/sub/x"} {
		if _, ok := tree[gone]; ok {
			t.Errorf("%s is still there", gone)
		}
	}
}

// TestScanSeesDifferences keeps the comparison honest.
func TestScanSeesDifferences(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := Scan(t, dir, ScanOptions{})["f"]
	if out, err := exec.Command("setfattr", "-n", "user.x", "-v", "y", path).CombinedOutput(); err != nil {
		t.Fatalf("setfattr: %v %s", err, out)
	}
	if err := os.Link(path, filepath.Join(dir, "g")); err != nil {
		t.Fatal(err)
	}
	after := Scan(t, dir, ScanOptions{})["f"]
	if before.Xattrs == after.Xattrs || len(after.Links) != 2 {
		t.Errorf("attributes %q → %q, links %v", before.Xattrs, after.Xattrs, after.Links)
	}
}
