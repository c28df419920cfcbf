// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// generated is the example of a manifest that rkt makes.
const generated = `{"acVersion":"1.30.0","acKind":"PodManifest",` +
	`"apps":[{"name":"hello",` +
	`"image":{"name":"example.com/hello","id":"sha512-00ff",` +
	`"labels":[{"name":"version","value":"1.30.0"},{"name":"arch","value":"amd64"},{"name":"os","value":"linux"}]},` +
	`"app":{"exec":["/bin/hello","a","b"],"user":"0","group":"0","workingDirectory":"/",` +
	`"environment":[{"name":"A","value":"b"}],` +
	`"ports":[{"name":"http","protocol":"tcp","port":80,"count":1,"socketActivated":false}],` +
	`"isolators":[{"name":"resource/memory","value":{"default":false,"request":"64Mi","limit":"64Mi"}}],` +
	`"userAnnotations":{"x":"y"},"userLabels":{"l":"m"}},` +
	`"mounts":[{"volume":"v","path":"/vv"}]}],` +
	`"volumes":[{"name":"v","kind":"empty","mode":"0755","uid":0,"gid":0}],` +
	`"isolators":null,` +
	`"annotations":[{"name":"coreos.com/rkt/stage1/mutable","value":"false"}],` +
	`"ports":[]}`

func TestPodManifestRoundTrip(t *testing.T) {
	for _, text := range []string{
		generated,
		`{"acVersion":"2.0.0-dev","acKind":"PodManifest","apps":[],"volumes":null,"isolators":null,"annotations":null,"ports":null}`,
		`{"acVersion":"2.0.0-dev","acKind":"PodManifest","apps":null,"volumes":[],"isolators":[],"annotations":[],"ports":[],"userLabels":{"a":"b"}}`,
		`{"acVersion":"2.0.0","acKind":"PodManifest","apps":[{"name":"a","image":{"id":"sha512-0"},"app":{"exec":null,"user":"0","group":"0"},` +
			`"readOnlyRootFS":true,"mounts":[{"volume":"v","path":"p","appVolume":{"name":"v","kind":"host","source":"/x","readOnly":true,"recursive":false}}],` +
			`"annotations":[{"name":"a","value":"b"}]},{"name":"b","image":{"id":"sha512-0"},"app":{"exec":[],"user":"0","group":"0"}}],"volumes":null,"isolators":null,"annotations":null,` +
			`"ports":[{"name":"p","hostPort":8080,"hostIP":"127.0.0.1","podPort":{"name":"p","protocol":"tcp","port":80,"count":1,"socketActivated":false}}]}`,
	} {
		m, err := ParsePodManifest([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got, err := m.Marshal(); err != nil || string(got) != text {
			t.Errorf("%v\n got %s\nwant %s", err, got, text)
		}
	}
}

func pod(members string) string {
	return `{"acVersion":"1.0.0","acKind":"PodManifest",` + members + `}`
}

func TestPodManifestFaults(t *testing.T) {
	for _, c := range []struct{ in, path, message string }{
		{`{"acKind":"ImageManifest"}`, "acKind", `must be "PodManifest"`},
		{`{"acKind":"PodManifest"}`, "acVersion", "acVersion must be set"},
		{pod(`"apps":[{"name":"A"}]`), "apps[0].name", "ACName must contain only"},
		{pod(`"apps":[{"name":"a","image":{"id":"x"}}]`), "apps[0].image.id", "not an image ID"},
		{pod(`"apps":[{"name":"a","image":{"name":"X","id":""}}]`), "apps[0].image.name", "ACIdentifier must contain only"},
		{pod(`"apps":[{"name":"a","app":{}}]`), "apps[0].app.user", "user is required"},
		{pod(`"apps":[{"name":"a","mounts":[{"volume":"v"}]}]`), "apps[0].mounts[0].path", "path must be set"},
		{pod(`"apps":[{"name":"a","mounts":[{"volume":"v","path":"/","appVolume":{"name":"v","kind":"x"}}]}]`), "apps[0].mounts[0].appVolume.kind", "unrecognized volume kind"},
		{pod(`"volumes":[{"name":"v","kind":"host"}]`), "volumes[0].source", "source for host volume cannot be empty"},
		{pod(`"volumes":[{"name":"v","kind":"empty"},{"name":"v","kind":"host","source":"/"}]`), "volumes[1].name", `duplicate volume name "v"`},
		{pod(`"volumes":[{"name":"v","kind":"empty","uid":-1}]`), "volumes[0].uid", "out of range"},
		{pod(`"isolators":[{"name":"os/linux/cpu-shares","value":0}]`), "isolators[0].value", "must be between"},
		{pod(`"annotations":[{"name":"a","value":""},{"name":"a","value":""}]`), "annotations[1].name", "duplicate annotations"},
		{pod(`"ports":[{"name":"p","hostPort":65536}]`), "ports[0].hostPort", "0-65535"},
		{pod(`"ports":[{"name":"p","hostPort":1,"hostIP":"x"}]`), "ports[0].hostIP", `"x" is not a valid IP`},
		{pod(`"ports":[{"name":"p","hostPort":1,"podPort":{"name":"p"}}]`), "ports[0].podPort.port", "1-65535"},
		{pod(`"apps":[{"name":"a"},{"name":"b","image":{"labels":[{"name":1}]}}]`), "apps[1].image.labels[0].name", "cannot use JSON number"},
	} {
		_, err := ParsePodManifest([]byte(c.in))
		var e *Error
		if !errors.As(err, &e) || e.Path != c.path || !strings.Contains(e.Err.Error(), c.message) {
			t.Errorf("%s:\n got %v\nwant %s: %s", c.in, err, c.path, c.message)
		}
	}
}

func TestPodManifestLeavesToCaller(t *testing.T) {
	in := pod(`"apps":[{"name":"a","image":{"id":""}},{"name":"a","image":{}}]`)
	if _, err := ParsePodManifest([]byte(in)); err != nil {
		t.Errorf("image IDs and unique app names are checked elsewhere: %v", err)
	}
}

// The canonical form is a fixed point, null and [] included.
func FuzzPodManifest(f *testing.F) {
	f.Add([]byte(generated))
	f.Add([]byte(pod(`"apps":[],"volumes":[{"name":"v","kind":"host","source":"/"}],"ports":[{"name":"p","hostPort":0}]`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParsePodManifest(data)
		if err != nil {
			return
		}
		canonical, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePodManifest(canonical)
		if err != nil {
			t.Fatalf("%s: %v", canonical, err)
		}
		if second, err := again.Marshal(); err != nil || !bytes.Equal(canonical, second) {
			t.Fatalf("%v\n%s\n%s", err, canonical, second)
		}
	})
}

func TestEnvironmentAndAnnotations(t *testing.T) {
	var e Environment
	e.Set("A", "1")
	e.Set("B", "2")
	e.Set("A", "3")
	if v, ok := e.Get("A"); !ok || v != "3" || len(e) != 2 || e[0].Name != "A" {
		t.Errorf("%v", e)
	}
	if _, ok := e.Get("C"); ok {
		t.Error("C is not set")
	}
	var a Annotations
	a.Set("x", "1")
	a.Set("x", "2")
	if v, ok := a.Get("x"); !ok || v != "2" || len(a) != 1 {
		t.Errorf("%v", a)
	}
}
