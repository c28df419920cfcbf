// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/networking/front"
)

// testNetworks are two plugins of one module, which is that of this test.
func testNetworks(t *testing.T) networks {
	t.Helper()
	dir := t.TempDir()
	n := networks{program: filepath.Join(dir, "net"), plugins: filepath.Join(dir, "plugins")}
	if err := os.WriteFile(n.program, []byte("network program"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(n.plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bridge", "ptp"} {
		if err := os.Symlink(self, filepath.Join(n.plugins, name)); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func TestNetworks(t *testing.T) {
	n, x := testNetworks(t), tree{}
	module, err := n.add(x)
	if err != nil || !strings.HasPrefix(module, "github.com/rkt/rkt/v2@") {
		t.Errorf("module %q, %v", module, err)
	}
	for name, kind := range map[string]byte{"upstream/ptp": '0', "upstream/bridge": '0', "ptp": '1', "bridge": '1', "flannel": '1'} {
		if got := x[path.Join(pluginDir, name)]; got.kind != kind || got.mode != 0o755 {
			t.Errorf("%s: kind %c, mode %o", name, got.kind, got.mode)
		}
	}
	if err := os.WriteFile(filepath.Join(n.plugins, "x"), []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := n.add(tree{}); err == nil {
		t.Error("a plugin that is no Go program")
	}
	if _, err := (networks{program: n.program, plugins: t.TempDir()}).add(tree{}); err == nil {
		t.Error("no plugins")
	}
}

// What is built, what the front knows and where it looks are the same.
func TestPluginNames(t *testing.T) {
	if pluginDir != front.Dir || upstreamDir != path.Join(front.Dir, front.Upstream) || flannel != front.Flannel {
		t.Error("the front looks elsewhere")
	}
	mod, err := os.ReadFile("../../networking/plugins/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(mod)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "github.com/containernetworking/plugins/plugins/") {
			names = append(names, path.Base(line))
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(front.UpstreamNames(), names); diff != "" {
		t.Error(diff)
	}
}

// The built-in networks are in the image, and only two.
func TestBuiltInNetworks(t *testing.T) {
	x := tree{}
	if err := x.addDir(filepath.Join(staticFiles, "rootfs")); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, n := range x {
		if !strings.HasPrefix(name, "etc/rkt/net.d/") {
			continue
		}
		var conf struct{ Name, Type, CNIVersion, IPv6 string }
		if err := json.Unmarshal(n.body, &conf); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got[path.Base(name)] = strings.Join([]string{conf.Name, conf.Type, conf.CNIVersion, conf.IPv6}, " ")
	}
	want := map[string]string{
		"99-default.conf":            "default ptp 1.1.0 auto",
		"99-default-restricted.conf": "default-restricted ptp 1.1.0 auto",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
