// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// full has every key, in canonical form.
const full = `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app",` +
	`"labels":[{"name":"version","value":"1.0"},{"name":"arch","value":"amd64"},{"name":"os","value":"linux"}],` +
	`"app":{"exec":["/bin/app","\u003cx\u003e"],"eventHandlers":[{"name":"pre-start","exec":["/bin/pre"]}],` +
	`"user":"100","group":"300","supplementaryGIDs":[400,500],"workingDirectory":"/work",` +
	`"environment":[{"name":"A_b.c-d","value":"b=c"}],` +
	`"mountPoints":[{"name":"work","path":"/work","readOnly":true},{"name":"b","path":"/b"}],` +
	`"ports":[{"name":"http","protocol":"tcp","port":65000,"count":536,"socketActivated":true}],` +
	`"isolators":[{"name":"resource/cpu","value":{"limit":"1.0"}},{"name":"example.com/unknown","value":[1.50,{"z":1,"a":null}]}],` +
	`"userAnnotations":{"a":"1","z":"2"},"userLabels":{"l":"m"}},` +
	`"annotations":[{"name":"created","value":"2026-01-02T03:04:05Z"},{"name":"homepage","value":"https://example.com"}],` +
	`"dependencies":[{"imageName":"example.com/base","imageID":"sha512-00ff","labels":[{"name":"os","value":"linux"}],"size":22017258}],` +
	`"pathWhitelist":["/etc/a","/b"]}`

const minimal = `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a"}`

func TestImageManifestRoundTrip(t *testing.T) {
	for _, text := range []string{full, minimal} {
		m, err := ParseImageManifest([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Marshal()
		if err != nil || string(got) != text {
			t.Errorf("%v\n got %s\nwant %s", err, got, text)
		}
	}
}

func TestImageManifestCanonical(t *testing.T) {
	const loose = ` { "unknown" : {"x":1}, "name":"a", "acVersion":"0.8.11", "acKind":"ImageManifest", "labels":[], "pathWhitelist":[],
		"app":{"group":"0","user":"0","exec":null,"ports":[{"port":1,"protocol":"tcp","name":"p"}],"environment":[]} } ` + "\n"
	const want = `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","app":{"exec":null,"user":"0","group":"0",` +
		`"ports":[{"name":"p","protocol":"tcp","port":1,"count":1,"socketActivated":false}]}}`
	m, err := ParseImageManifest([]byte(loose))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Marshal(); err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
}

// app wraps the members of an app section in a manifest.
func app(members string) string {
	return `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","app":{"exec":["/a"],"user":"0","group":"0",` + members + `}}`
}

func isolator(name, value string) string {
	return app(`"isolators":[{"name":"` + name + `","value":` + value + `}]`)
}

// top wraps further members of a manifest.
func top(members string) string { return strings.TrimSuffix(minimal, "}") + "," + members + "}" }

func TestImageManifestFaults(t *testing.T) {
	const value = "app.isolators[0].value"
	for _, c := range []struct{ in, path, message string }{
		{`{}`, "acKind", `must be "ImageManifest", not ""`},
		{`{"acKind":"PodManifest"}`, "acKind", `must be "ImageManifest", not "PodManifest"`},
		{`{"acKind":"ImageManifest"}`, "acVersion", "acVersion must be set"},
		{`{"acKind":"ImageManifest","acVersion":"0.0.0"}`, "acVersion", "acVersion must be set"},
		{`{"acKind":"ImageManifest","acVersion":"1.2"}`, "acVersion", "not a semantic version"},
		{`{"acKind":"ImageManifest","acVersion":"0.8.11"}`, "name", "name must be set"},
		{`{"acKind":"ImageManifest","acVersion":"0.8.11","name":"A"}`, "name", "ACIdentifier must contain only lower case"},
		{top(`"labels":[{"name":"a","value":""},{"name":"a","value":""}]`), "labels[1].name", `duplicate labels of name "a"`},
		{top(`"labels":[{"name":"name","value":""}]`), "labels[0].name", `invalid label name: "name"`},
		{top(`"labels":[{"name":"x","value":""},{"name":"os","value":"plan9"}]`), "labels[1].value", `bad os "plan9" (must be one of: [linux freebsd darwin])`},
		{top(`"labels":[{"name":"arch","value":"386"},{"name":"os","value":"linux"}]`), "labels[0].value", `bad arch "386" for linux (must be one of: [amd64 i386 aarch64`},
		{top(`"annotations":[{"name":"a","value":""},{"name":"a","value":""}]`), "annotations[1].name", `duplicate annotations of name "a"`},
		{top(`"annotations":[{"name":"created","value":"yesterday"}]`), "annotations[0].value", "RFC 3339"},
		{top(`"annotations":[{"name":"homepage","value":"ftp://x"}]`), "annotations[0].value", "URL"},
		{top(`"annotations":[{"name":"documentation","value":"x"}]`), "annotations[0].value", "URL"},
		{top(`"dependencies":[{}]`), "dependencies[0].imageName", "imageName must be set"},
		{top(`"dependencies":[{"imageName":"a","imageID":"sha512-"}]`), "dependencies[0].imageID", "not an image ID"},
		{top(`"dependencies":[{"imageName":"a","size":-1}]`), "dependencies[0].size", "cannot use JSON number -1 as uint64"},
		{top(`"dependencies":[{"imageName":"a","labels":[{"name":"","value":""}]}]`), "dependencies[0].labels[0].name", "ACIdentifier cannot be empty"},
		{top(`"pathWhitelist":["/a","b"]`), "pathWhitelist[1]", `"b" must be absolute`},
		{top(`"app":{"exec":[]}`), "app.user", "user is required"},
		{top(`"app":{"exec":[],"user":"0"}`), "app.group", "group is required"},
		{top(`"app":{"exec":["a\u0000"],"user":"0","group":"0"}`), "app.exec[0]", "NUL"},
		{app(`"workingDirectory":"a"`), "app.workingDirectory", "workingDirectory must be an absolute path"},
		{app(`"supplementaryGIDs":[0,-1]`), "app.supplementaryGIDs[1]", "out of range"},
		{app(`"supplementaryGIDs":[4294967295]`), "app.supplementaryGIDs[0]", "out of range"},
		{app(`"eventHandlers":[{"name":"x","exec":["/a"]}]`), "app.eventHandlers[0].name", `bad eventHandler name "x"`},
		{app(`"eventHandlers":[{"name":"pre-start","exec":["/a"]},{"name":"pre-start","exec":["/a"]}]`), "app.eventHandlers[1].name", "duplicate eventHandler"},
		{app(`"environment":[{"name":"1","value":""}]`), "app.environment[0].name", "invalid environment variable name"},
		{app(`"environment":[{"name":"A","value":""},{"name":"A","value":""}]`), "app.environment[1].name", `duplicate environment variable of name "A"`},
		{app(`"mountPoints":[{"name":"a_b","path":"/"}]`), "app.mountPoints[0].name", "ACName must contain only"},
		{app(`"mountPoints":[{"name":"a","path":""}]`), "app.mountPoints[0].path", "path must be set"},
		{app(`"ports":[{"name":"a","protocol":"tcp","port":0}]`), "app.ports[0].port", "1-65535"},
		{app(`"ports":[{"name":"a","protocol":"tcp","port":65536}]`), "app.ports[0].port", "1-65535"},
		{app(`"ports":[{"name":"a","protocol":"tcp","port":65535,"count":2}]`), "app.ports[0].count", "end of port range"},
		{app(`"isolators":[{"name":"","value":1}]`), "app.isolators[0].name", "ACIdentifier cannot be empty"},
		{isolator("resource/cpu", `{"default":true}`), value + ".default", "default must be false"},
		{isolator("resource/memory", `{"limit":"1x"}`), value, "quantities must match"},
		{isolator("resource/memory", `{"limit":"-1"}`), value + ".limit", "must not be negative"},
		{isolator("resource/memory", `"1"`), value, "invalid isolator: cannot use JSON string"},
		{isolator("resource/memory", `null`), value, "invalid isolator"},
		{isolator("resource/block-iops", `{"default":false,"limit":"1"}`), value + ".default", "default must be true"},
		{isolator("resource/network-bandwidth", `{"default":true,"request":"1"}`), value + ".request", "request must not be set"},
		{isolator("os/linux/capabilities-retain-set", `{"set":[]}`), value + ".set", "set must be non-empty"},
		{isolator("os/linux/capabilities-remove-set", `{}`), value + ".set", "set must be non-empty"},
		{isolator("os/linux/seccomp-retain-set", `{"set":[]}`), value + ".set", "set must be non-empty"},
		{isolator("os/linux/seccomp-remove-set", `{"set":["a"],"errno":"ePERM"}`), value + ".errno", "errno"},
		{isolator("os/linux/no-new-privileges", `"true"`), value, "invalid isolator"},
		{isolator("os/linux/oom-score-adj", `1001`), value, "os/linux/oom-score-adj must be between -1000 and 1000, got 1001"},
		{isolator("os/linux/cpu-shares", `1`), value, "os/linux/cpu-shares must be between 2 and 262144, got 1"},
		{isolator("os/linux/cpu-shares", `"x"`), value, "invalid isolator"},
		{isolator("os/linux/selinux-context", `{"user":"a:b","role":"r","type":"t","level":"l"}`), value + ".user", "without colon"},
		{isolator("os/linux/selinux-context", `{"user":"u","role":"r","type":"t"}`), value + ".level", "level must be non-empty"},
		{isolator("os/linux/apparmor-profile", `{}`), value + ".profile", "profile must be non-empty"},
		{isolator("os/unix/sysctl", `{"a":1}`), value, "invalid isolator"},
		{isolator("resource/pids", `{"limit":"-1"}`), value + ".limit", "must not be negative"},
		{isolator("os/linux/io-weight", `10001`), value, "os/linux/io-weight must be between 1 and 10000, got 10001"},
		{isolator("os/unix/rlimits", `{"nofile":{}}`), value + ".nofile", "soft or hard must be set"},
		{isolator("os/unix/rlimits", `{"nofile":{"soft":"many"}}`), value, "a resource limit is a whole number or \"unlimited\", not \"many\""},
		{
			app(`"isolators":[{"name":"os/linux/seccomp-retain-set","value":{"set":["a"]}},{"name":"os/linux/seccomp-remove-set","value":{"set":["a"]}}]`),
			"app.isolators[1]", "isolators set contains incompatible types",
		},
		{app(`"isolators":[{"name":"os/linux/cpu-shares","value":2},{"name":"os/linux/cpu-shares","value":2}]`), "app.isolators[1]", "isolators set contains incompatible types"},
	} {
		_, err := ParseImageManifest([]byte(c.in))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if e.Path != c.path || !strings.Contains(e.Err.Error(), c.message) || e.Line != 1 {
			t.Errorf("%s:\n got %+v\nwant %s: %s", c.in, e, c.path, c.message)
		}
	}
}

func TestRepeatableIsolators(t *testing.T) {
	in := app(`"isolators":[{"name":"resource/memory","value":{"limit":"1M"}},{"name":"resource/memory","value":{"limit":"2M"}},{"name":"x","value":1},{"name":"x","value":2},{"name":"y","value":null}]`)
	m, err := ParseImageManifest([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if i := m.App.Isolators.Get(ResourceMemory); i == nil || string(i.Value) != `{"limit":"2M"}` {
		t.Errorf("last one counts: %v", i)
	}
	if u := m.App.Isolators.Unknown(); len(u) != 2 || u[0] != "x" || u[1] != "y" {
		t.Errorf("unknown: %v", u)
	}
	if m.App.Isolators.Get(LinuxCPUShares) != nil {
		t.Error("absent isolator found")
	}
}

func TestNewIsolator(t *testing.T) {
	i, err := NewIsolator(LinuxCPUShares, 1024)
	if err != nil || string(i.Value) != "1024" {
		t.Errorf("%v, %v", i, err)
	}
	const want = "isolator os/linux/cpu-shares: os/linux/cpu-shares must be between 2 and 262144, got 1"
	if _, err := NewIsolator(LinuxCPUShares, 1); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestErrorText(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"syntax": {
			"{\n  \"acKind\": \"ImageManifest\",\n  \"name\": x\n}",
			`line 3, column 11: invalid character 'x' looking for beginning of value in "\"name\": x"`,
		},
		"type": {
			"{\n  \"acKind\": \"ImageManifest\",\n  \"labels\": [\n    {\"name\": \"a\", \"value\": 1}\n  ]\n}",
			`labels[0].value (line 4, column 28): cannot use JSON number as string in "{\"name\": \"a\", \"value\": 1}"`,
		},
		"validation": {
			"{\"acKind\": \"ImageManifest\", \"acVersion\": \"0.8.11\", \"name\": \"a\",\n \"app\": {\"user\": \"0\", \"group\": \"0\",\n  \"isolators\": [\n   {\"name\": \"resource/cpu\",\n    \"value\": {\"default\": true}}]}}",
			`app.isolators[0].value.default (line 5, column 26): default must be false`,
		},
		"absent value": {
			"{\"acKind\": \"ImageManifest\", \"acVersion\": \"0.8.11\", \"name\": \"a\",\n \"app\": {\"user\": \"0\"}}",
			`app.group (line 2, column 9): group is required`,
		},
		"end of text": {
			"{\"acKind\":",
			`line 1, column 10: unexpected end of JSON input in "{\"acKind\":"`,
		},
		"empty":          {"", "line 1, column 1: unexpected end of JSON input"},
		"two values":     {minimal + " {}", `line 1, column 60: invalid character '{' after top-level value in`},
		"not an object":  {`[]`, `line 1, column 1: cannot use JSON array as object in "[]"`},
		"characters":     {"{\"ä\": é}", `line 1, column 7: invalid character 'Ã' looking for beginning of value in "{\"ä\": é}"`},
		"bytes, no text": {"\x7fELF\x02\xff", `line 1, column 1: invalid character '\x7f' looking for beginning of value`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseImageManifest([]byte(c.in))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("\n got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestManifestBombs(t *testing.T) {
	for name, in := range map[string]string{
		"nesting":          strings.Repeat("[", 1<<20),
		"nesting, objects": strings.Repeat(`{"a":`, 1000),
		"nested value":     top(`"x":` + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)),
		"size":             `"` + strings.Repeat("a", MaxManifestSize) + `"`,
	} {
		if _, err := ParseImageManifest([]byte(in)); err == nil || len(err.Error()) > 500 {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	deep := top(`"x":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1))
	if _, err := ParseImageManifest([]byte(deep)); err != nil {
		t.Errorf("allowed depth: %v", err)
	}
	if _, err := ParseImageManifest([]byte(top(`"x":"` + strings.Repeat(`[{\"`, 100) + `"`))); err != nil {
		t.Errorf("brackets in a string: %v", err)
	}
}

func TestMarshalRefusesInvalid(t *testing.T) {
	m := &ImageManifest{ACKind: ImageManifestKind, ACVersion: ACVersion}
	if _, err := m.Marshal(); err == nil || err.Error() != "name: name must be set" {
		t.Errorf("%v", err)
	}
}

func TestOSArch(t *testing.T) {
	if err := RunnableOSArch("freebsd", "amd64"); err == nil || err.Error() != `bad os "freebsd" (must be one of: [linux])` {
		t.Errorf("%v", err)
	}
	if err := RunnableOSArch("linux", "s390x"); err == nil || !strings.HasPrefix(err.Error(), `bad arch "s390x" for linux (must be one of: [amd64 `) {
		t.Errorf("%v", err)
	}
	if err := IsValidOSArch("linux", "s390x"); err != nil {
		t.Error(err)
	}
	if os, arch := HostLabels(); IsValidOSArch(os, arch) != nil {
		t.Errorf("host is %s/%s", os, arch)
	}
	for goarch, want := range map[string]string{"386": "i386", "arm64": "aarch64", "arm": "armv7l", "amd64": "amd64", "ppc64le": "ppc64le", "s390x": "s390x"} {
		if os, arch := OSArch("linux", goarch); arch != want || IsValidOSArch(os, arch) != nil {
			t.Errorf("%s: %s", goarch, arch)
		}
	}
}

// What parses marshals; the canonical form is a fixed point.
func FuzzImageManifest(f *testing.F) {
	for _, s := range []string{full, minimal, isolator("x", `{"a":1.0}`), app(`"ports":[{"name":"p","port":1}]`), `{"ACKIND":"ImageManifest"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseImageManifest(data)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T without position: %v", err, err)
			}
			return
		}
		canonical, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseImageManifest(canonical)
		if err != nil {
			t.Fatalf("%s: %v", canonical, err)
		}
		if second, err := again.Marshal(); err != nil || !bytes.Equal(canonical, second) {
			t.Fatalf("%v\n%s\n%s", err, canonical, second)
		}
	})
}
