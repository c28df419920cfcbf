// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// podOf is a mutable pod with a volume and an app "old" that has one of its own.
func podOf(t *testing.T) *appc.PodManifest {
	t.Helper()
	m, err := Generate(Config{Version: "2.0.0-dev", Mutable: true}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Volumes = []appc.Volume{{Name: "pod", Kind: "host", Source: "/srv"}}
	old := App{Name: "old", Mounts: []appc.Mount{own("v", "/v", appc.EmptyVolume)}}
	m, err = Add(Config{}, m, old, testImage(t, "example.com/hello", helloApp))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func own(name, path, kind string) appc.Mount {
	v := appc.Volume{Name: appc.Name(name), Kind: kind}
	if kind == appc.HostVolume {
		v.Source = "/src"
	}
	return appc.Mount{Volume: v.Name, Path: path, AppVolume: &v}
}

func TestAdd(t *testing.T) {
	m := podOf(t)
	before, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	hello := testImage(t, "example.com/hello", helloApp)
	app := App{
		Args: []string{"x", "y"}, ReplaceArgs: true,
		Mounts: []appc.Mount{own("v", "/own", appc.EmptyVolume), {Volume: "pod", Path: "/pod"}, own("h", "/host", appc.HostVolume), {Volume: "h", Path: "/again"}},
	}
	got, err := Add(Config{Mounts: []appc.Mount{{Volume: "pod", Path: "/all"}}}, m, app, hello)
	if err != nil {
		t.Fatal(err)
	}
	host := &appc.Volume{Name: "h", Kind: "host", Source: "/src"}
	wantMounts := []appc.Mount{
		{Volume: "v", Path: "/own", AppVolume: &appc.Volume{Name: "hello-v", Kind: "empty"}},
		{Volume: "pod", Path: "/pod"},
		{Volume: "h", Path: "/host", AppVolume: host},
		{Volume: "h", Path: "/again", AppVolume: host},
		{Volume: "pod", Path: "/all"},
	}
	added := Find(got, "hello")
	if diff := cmp.Diff(wantMounts, added.Mounts); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/bin/hello", "x", "y"}, added.App.Exec); diff != "" {
		t.Error(diff)
	}
	if after, err := m.Marshal(); err != nil || string(after) != string(before) {
		t.Errorf("Add changed its argument: %s, %v", after, err)
	}
	without := Without(got, "hello")
	if after, err := without.Marshal(); err != nil || string(after) != string(before) {
		t.Errorf("without it again: %s, %v", after, err)
	}
	if len(got.Apps) != 2 || Find(without, "hello") != nil {
		t.Error("Without changed its argument, or not its result")
	}
}

func TestAddArguments(t *testing.T) {
	hello := testImage(t, "example.com/hello", helloApp)
	for _, tt := range []struct {
		app  App
		want string
	}{
		{App{ReplaceArgs: true}, "/bin/hello a"},
		{App{ReplaceArgs: true, Args: []string{"x"}}, "/bin/hello x"},
		{App{ReplaceArgs: true, Args: []string{"x"}, Exec: "/y"}, "/y x"},
		{App{Args: []string{"x"}}, "/bin/hello a x"},
	} {
		m, err := Add(Config{}, podOf(t), tt.app, hello)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(Find(m, "hello").App.Exec, " "); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if got := strings.Join(hello.Manifest.App.Exec, " "); got != "/bin/hello a" {
		t.Errorf("the image's arguments are %q now", got)
	}
}

func TestAddErrors(t *testing.T) {
	hello := testImage(t, "example.com/hello", helloApp)
	for _, tt := range []struct {
		app  App
		want string
	}{
		{App{Name: "old"}, "error: multiple apps with name old"},
		{App{Name: "old-created"}, `app name "old-created": its status would be a marker of app "old"`},
		{App{Name: "old-started"}, "its status would be a marker"},
		{App{Mounts: []appc.Mount{{Volume: "x", Path: "/x"}}}, `dangling mount point "/x": volume "x" not found`},
		{App{Mounts: []appc.Mount{own("v", "/a", "empty"), own("v", "/b", "empty")}}, `duplicate volume name "v"`},
		{App{Isolators: []appc.Isolator{iso("example.com/moat", "1")}}, "rkt cannot enforce it"},
		{App{Name: "A"}, `app name "A"`},
		{App{Mounts: []appc.Mount{own("v", "/a\x00", "empty")}}, "pod manifest"},
	} {
		if _, err := Add(Config{}, podOf(t), tt.app, hello); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.app, err, tt.want)
		}
	}
	// Directories of two apps would be the same.
	m, err := Add(Config{}, podOf(t), App{Name: "a", Mounts: []appc.Mount{own("b-c", "/x", "empty")}}, hello)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Add(Config{}, m, App{Name: "a-b", Mounts: []appc.Mount{own("c", "/x", "empty")}}, hello); err == nil || err.Error() != `volume "c" of app "a-b": the pod has a volume "a-b-c"` {
		t.Error(err)
	}
}
