// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
)

var update = flag.Bool("update", false, "rewrite golden files")

const key = "sha512-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func testImage(t *testing.T, name, app string) Image {
	t.Helper()
	raw := `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"` + name + `",
		"labels":[{"name":"version","value":"1.30.0"},{"name":"arch","value":"amd64"},{"name":"os","value":"linux"}]`
	if app != "" {
		raw += `,"app":` + app
	}
	m, err := appc.ParseImageManifest([]byte(raw + "}"))
	if err != nil {
		t.Fatal(err)
	}
	return Image{ID: key + "ffff", Manifest: m}
}

func iso(name, value string) appc.Isolator {
	return appc.Isolator{Name: appc.Identifier(name), Value: json.RawMessage(value)}
}

const helloApp = `{"exec":["/bin/hello","a"],"user":"0","group":"0","workingDirectory":"/",
	"environment":[{"name":"A","value":"b"},{"name":"KEEP","value":"image"}],
	"ports":[{"name":"http","protocol":"tcp","port":80,"count":1,"socketActivated":false}],
	"isolators":[{"name":"resource/memory","value":{"default":false,"request":"64Mi","limit":"64Mi"}}],
	"userAnnotations":{"x":"y"},"userLabels":{"l":"m"}}`

func TestGenerateGolden(t *testing.T) {
	yes, mode, zero := true, "0755", 0
	tests := []struct {
		name   string
		config Config
		apps   []App
		images []Image
	}{
		{
			// The example of spec pods.md 10.1, field by field.
			name: "example",
			config: Config{
				Version: "1.30.0",
				Volumes: []appc.Volume{{Name: "v", Kind: "empty", Mode: &mode, UID: &zero, GID: &zero}},
			},
			apps:   []App{{Args: []string{"b"}, Mounts: []appc.Mount{{Volume: "v", Path: "/vv"}}}},
			images: []Image{testImage(t, "example.com/hello", helloApp)},
		},
		{
			name: "overrides",
			config: Config{
				Version:    "2.0.0-dev",
				InheritEnv: []string{"KEEP=inherited", "GAP=inherited", "BASH_FUNC_x%%=() { }", "FILE=inherited"},
				SetEnvFile: appc.Environment{{Name: "FILE", Value: "file"}, {Name: "SET", Value: "file"}, {Name: "OWN", Value: "file"}},
				SetEnv:     appc.Environment{{Name: "SET", Value: "set"}, {Name: "OWN", Value: "set"}},
				Mounts:     []appc.Mount{{Volume: "g", Path: "/data/"}, {Volume: "g", Path: "/global"}},
				Volumes:    []appc.Volume{{Name: "g", Kind: "host", Source: "/srv", ReadOnly: &yes}},
				Ports:      []appc.ExposedPort{{Name: "http", HostPort: 8080, HostIP: "127.0.0.1"}},
			},
			apps: []App{{
				Name: "web", Exec: "/bin/other", Args: []string{"-x", ""}, User: "www", Group: "www",
				SupplementaryGIDs: []int{7, 8}, WorkingDir: "/srv", ReadOnlyRootFS: &yes,
				Environment: appc.Environment{{Name: "OWN", Value: "own"}, {Name: "A", Value: "own"}},
				Mounts:      []appc.Mount{{Volume: "g", Path: "/data"}},
				Isolators: []appc.Isolator{
					iso("resource/memory", `{"request":"1Gi","limit":"1Gi"}`),
					iso("os/linux/cpu-shares", `512`),
				},
				Annotations:     appc.Annotations{{Name: "example.com/a", Value: "1"}},
				UserAnnotations: map[string]string{"k": "v"}, UserLabels: map[string]string{"b": "2", "a": "1"},
				Stdin: "tty", Stdout: "tty", Stderr: "log",
			}},
			images: []Image{testImage(t, "example.com/hello", helloApp)},
		},
		{
			name:   "no-app-section",
			config: Config{Version: "2.0.0-dev", UID: 1000, GID: 100},
			apps:   []App{{Exec: "/bin/sh"}},
			images: []Image{testImage(t, "example.com/base", "")},
		},
		{
			name: "sandbox",
			config: Config{
				Version: "2.0.0-dev", Mutable: true,
				Annotations: appc.Annotations{
					{Name: "example.com/k", Value: "v"},
					{Name: entrypoint.MutableAnnotation, Value: "false"},
				},
				UserLabels: map[string]string{"l": "m"},
				Ports:      []appc.ExposedPort{{Name: "http", HostPort: 8080, PodPort: &appc.Port{Name: "http", Protocol: "tcp", Port: 80, Count: 1}}},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Generate(tt.config, tt.apps, tt.images)
			if err != nil {
				t.Fatal(err)
			}
			compact, err := m.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name+".json", compact)
			back, err := appc.ParsePodManifest(compact)
			if err != nil {
				t.Fatalf("the result does not parse back: %v", err)
			}
			if again, err := back.Marshal(); err != nil || string(again) != string(compact) {
				t.Errorf("marshalled again: %s, %v", again, err)
			}
		})
	}
}

// golden compares on indented text, for the sake of the reader of a diff.
func golden(t *testing.T, name string, compact []byte) {
	t.Helper()
	got, err := appc.Indent(compact, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestGenerateErrors(t *testing.T) {
	hello := testImage(t, "example.com/hello", helloApp)
	ported := func(ports ...appc.ExposedPort) Config { return Config{Version: "1.0.0", Ports: ports} }
	plain := Config{Version: "1.0.0"}
	tests := []struct {
		name   string
		config Config
		apps   []App
		images []Image
		want   string
	}{
		{"two of one name", plain, []App{{}, {}}, []Image{hello, hello}, "error: multiple apps with name hello"},
		{
			"no section", plain,
			[]App{{}},
			[]Image{testImage(t, "example.com/base", "")},
			"error: image " + key + " has no app section and --exec argument is not provided",
		},
		{
			"empty exec", plain,
			[]App{{}},
			[]Image{testImage(t, "example.com/base", `{"user":"0","group":"0"}`)},
			`image "example.com/base" has an empty "exec" (try --exec=BINARY)`,
		},
		{
			"unknown isolator", plain,
			[]App{{}},
			[]Image{testImage(t, "example.com/base", `{"exec":["/x"],"user":"0","group":"0","isolators":[{"name":"example.com/moat","value":1}]}`)},
			`app "base": unknown isolator "example.com/moat": rkt cannot enforce it`,
		},
		{
			"port of no app", ported(appc.ExposedPort{Name: "https", HostPort: 1}),
			[]App{{}},
			[]Image{hello},
			`port name "https" could not be found in any apps`,
		},
		{
			"port of two apps", ported(appc.ExposedPort{Name: "http", HostPort: 1}),
			[]App{{}, {Name: "b"}},
			[]Image{hello, hello},
			`port name "http" defined multiple apps`,
		},
		{
			"same host port on all addresses of IPv6", ported(appc.ExposedPort{Name: "http", HostPort: 1, HostIP: "::1"}, appc.ExposedPort{Name: "http", HostPort: 1, HostIP: "::"}),
			[]App{{}},
			[]Image{hello},
			"port tcp-::1:1 already mapped to pod port 80",
		},
		{
			"same host port", ported(appc.ExposedPort{Name: "http", HostPort: 1}, appc.ExposedPort{Name: "http", HostPort: 1, HostIP: "10.0.0.1"}),
			[]App{{}},
			[]Image{hello},
			"port tcp-0.0.0.0:1 already mapped to pod port 80",
		},
		{"bad name", plain, []App{{Name: "A b"}}, []Image{hello}, `app name "A b"`},
		{
			"volume twice",
			Config{Version: "1.0.0", Volumes: []appc.Volume{{Name: "v", Kind: "empty"}, {Name: "v", Kind: "host", Source: "/x"}}},
			[]App{{}},
			[]Image{hello},
			`duplicate volume name "v"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Generate(tt.config, tt.apps, tt.images)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	// Different addresses may share a port of the host.
	c := ported(appc.ExposedPort{Name: "http", HostPort: 1, HostIP: "10.0.0.1"}, appc.ExposedPort{Name: "http", HostPort: 1, HostIP: "10.0.0.2"})
	if _, err := Generate(c, []App{{}}, []Image{hello}); err != nil {
		t.Errorf("two addresses: %v", err)
	}
}

func TestGenerateLeavesImageManifestAlone(t *testing.T) {
	img := testImage(t, "example.com/hello", helloApp)
	before, err := img.Manifest.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	app := App{
		Args: []string{"more"}, Environment: appc.Environment{{Name: "A", Value: "changed"}},
		Isolators: []appc.Isolator{iso("os/linux/cpu-shares", "5")}, UserLabels: map[string]string{},
	}
	if _, err := Generate(Config{Version: "1.0.0", SetEnv: appc.Environment{{Name: "KEEP", Value: "x"}}}, []App{app}, []Image{img}); err != nil {
		t.Fatal(err)
	}
	after, err := img.Manifest.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("image manifest changed:\n%s", diff)
	}
}

func TestMergeIsolators(t *testing.T) {
	names := func(l []appc.Isolator) []string {
		var out []string
		for _, i := range l {
			out = append(out, string(i.Name)+"="+string(i.Value))
		}
		return out
	}
	image := []appc.Isolator{
		iso(memory, "1"), iso(capsRetain, "1"), iso("os/linux/cpu-shares", "1"), iso(seccompRemove, "1"),
	}
	tests := []struct {
		name  string
		flags []appc.Isolator
		want  []string
	}{
		{"none", nil, []string{memory + "=1", capsRetain + "=1", "os/linux/cpu-shares=1", seccompRemove + "=1"}},
		{"memory is appended", []appc.Isolator{iso(memory, "2")}, []string{memory + "=1", capsRetain + "=1", "os/linux/cpu-shares=1", seccompRemove + "=1", memory + "=2"}},
		{
			"pids and resource limits are appended",
			[]appc.Isolator{iso(pids, "2"), iso(rlimits, "3"), iso(rlimits, "4")},
			[]string{
				memory + "=1", capsRetain + "=1", "os/linux/cpu-shares=1", seccompRemove + "=1", pids + "=2", rlimits + "=3", rlimits + "=4",
			},
		},
		{"shares replace", []appc.Isolator{iso("os/linux/cpu-shares", "2")}, []string{memory + "=1", capsRetain + "=1", seccompRemove + "=1", "os/linux/cpu-shares=2"}},
		{"capabilities replace all", []appc.Isolator{iso(capsRemove, "2")}, []string{memory + "=1", "os/linux/cpu-shares=1", seccompRemove + "=1", capsRemove + "=2"}},
		{"seccomp replaces both", []appc.Isolator{iso(seccompRetain, "2")}, []string{memory + "=1", capsRetain + "=1", "os/linux/cpu-shares=1", seccompRetain + "=2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, names(MergeIsolators(image, tt.flags))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAppName(t *testing.T) {
	tests := []struct{ given, image, want string }{
		{"", "example.com/etcd", "etcd"},
		{"", "etcd", "etcd"},
		{"", "registry-1.docker.io/library/my_app.v2", "my-app-v2"},
		{"a--b", "example.com/etcd", "a--b"},
	}
	for _, tt := range tests {
		got, err := AppName(tt.given, appc.Identifier(tt.image))
		if err != nil || got.String() != tt.want {
			t.Errorf("AppName(%q, %q) = %q, %v; want %q", tt.given, tt.image, got, err, tt.want)
		}
	}
}

func TestCheck(t *testing.T) {
	hello, base := testImage(t, "example.com/hello", helloApp), testImage(t, "example.com/base", "")
	section := &appc.App{Exec: []string{"/x"}, User: "0", Group: "0"}
	app := func(name string, a *appc.App) appc.RuntimeApp {
		return appc.RuntimeApp{Name: appc.Name(name), Image: appc.RuntimeImage{ID: "sha512-0123"}, App: a}
	}
	tests := []struct {
		name   string
		apps   []appc.RuntimeApp
		images []Image
		want   string
	}{
		{"section of the image", []appc.RuntimeApp{app("a", nil)}, []Image{hello}, ""},
		{"section of the pod manifest", []appc.RuntimeApp{app("a", section)}, []Image{base}, ""},
		{"no section", []appc.RuntimeApp{app("a", nil)}, []Image{base}, "no app section in the pod manifest or the image manifest"},
		{"no apps", nil, nil, "pod must contain at least one application"},
		{"same names", []appc.RuntimeApp{app("a", nil), app("a", nil)}, []Image{hello, hello}, "multiple apps with same name a"},
		{"no image", []appc.RuntimeApp{{Name: "a"}}, []Image{hello}, `no image ID for app "a"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(&appc.PodManifest{Apps: tt.apps}, tt.images)
			if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
				t.Errorf("Check() = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestPodIsolators(t *testing.T) {
	hello := testImage(t, "example.com/hello", helloApp)
	apps := []App{{Image: "sha512-0123"}}
	forwarding := iso("os/unix/sysctl", `{"net.ipv4.ip_forward":"1"}`)
	m, err := Generate(Config{Version: "2.0.0-dev", Isolators: appc.Isolators{forwarding}}, apps, []Image{hello})
	if err != nil || len(m.Isolators) != 1 || m.Isolators[0].Name != forwarding.Name {
		t.Fatalf("%v, %v", m, err)
	}
	for _, tt := range []struct {
		isolator appc.Isolator
		want     string
	}{
		{iso("os/unix/sysctl", `{"kernel.core_pattern":"|/x"}`), "pod: isolator os/unix/sysctl: the kernel parameter kernel.core_pattern belongs to the host, not to a namespace of the pod"},
		{iso("os/linux/cpu-shares", `5`), "pod: isolator os/linux/cpu-shares: it counts for an app, not for a pod"},
		{iso("example.com/x", `5`), `pod: unknown isolator "example.com/x": rkt cannot enforce it`},
	} {
		list := appc.Isolators{tt.isolator}
		if _, err := Generate(Config{Version: "2.0.0-dev", Isolators: list}, apps, []Image{hello}); err == nil || err.Error() != tt.want {
			t.Errorf("Generate: %v, want %s", err, tt.want)
		}
		pm := &appc.PodManifest{Apps: m.Apps, Isolators: list}
		if err := Check(pm, []Image{hello}); err == nil || err.Error() != tt.want {
			t.Errorf("Check: %v, want %s", err, tt.want)
		}
	}
}

func TestCheckLabels(t *testing.T) {
	labels := func(pairs ...string) appc.Labels {
		var l appc.Labels
		for i := 0; i < len(pairs); i += 2 {
			l = append(l, appc.Label{Name: appc.Identifier(pairs[i]), Value: pairs[i+1]})
		}
		return l
	}
	tests := []struct {
		labels appc.Labels
		want   string
	}{
		{labels("os", "linux", "arch", "amd64"), ""},
		{labels("arch", "amd64"), "missing os label in the image manifest"},
		{labels("os", "linux"), "missing arch label in the image manifest"},
		{labels("os", "freebsd", "arch", "amd64"), `bad os "freebsd" (must be one of: `},
		{labels("os", "linux", "arch", "armv5l"), `bad arch "armv5l" for linux (must be one of: `},
	}
	for _, tt := range tests {
		err := CheckLabels(tt.labels)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("CheckLabels(%v) = %v, want %q", tt.labels, err, tt.want)
		}
	}
}
