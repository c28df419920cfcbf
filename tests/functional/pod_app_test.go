// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// TestPodArguments: what goes into the command line of an app.
func TestPodArguments(t *testing.T) {
	p := newPods(t)
	image := p.Fetch(harness.Busybox(t, map[string]any{"exec": []string{"/bin/printf", "[%s]", "of the image"}, "workingDirectory": "/bin"}))
	for name, tt := range map[string]struct {
		flags, args []string
		want        string
	}{
		"image":        {nil, nil, "[of the image]"},
		"appended":     {nil, []string{"a b", "", "--net=host", "--exec=x"}, "[of the image][a b][][--net=host][--exec=x]"},
		"odd":          {nil, []string{"$HOME", "${A}", "%n %%", `\n\t"'`, "`id`", "a;b", "*", "two\nlines", "-", "é", " "}, "[of the image][$HOME][${A}][%n %%][\\n\\t\"'][`id`][a;b][*][two\nlines][-][é][ ]"},
		"exec":         {[]string{"--exec=/bin/echo"}, []string{"x"}, "x"},
		"bare name":    {[]string{"--exec=echo"}, []string{"x"}, "x"},
		"relative":     {[]string{"--exec=./echo"}, []string{"x"}, "x"},
		"PATH":         {[]string{"--exec=echo", "--environment=PATH=/none:/bin"}, []string{"x"}, "x"},
		"argv 0":       {[]string{"--exec=sh"}, []string{"-c", "tr '\\0' ' ' </proc/$$/cmdline; true"}, "/bin/sh -c tr '\\0' ' ' </proc/$$/cmdline; true "},
		"relative arg": {[]string{"--exec=./sh"}, []string{"-c", "echo $0"}, "/bin/./sh"},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.Run(p.program(image, tt.flags, tt.args...)...)
			if got := strings.TrimSuffix(harness.AppOutput(r.Stdout, "app"), "\n"); r.Status != 0 || got != tt.want {
				t.Errorf("%q, want %q: %s", got, tt.want, r)
			}
		})
	}
	p.refused(254, `unable to find "echo" in "/none"`, p.program(image, []string{"--exec=echo", "--environment=PATH=/none"})...)
	// each image has arguments of its own
	r := p.Run("run", p.stage1, "--net=none", image, "--name=one", "--", "1", "---", image, "--name=two", "--exec=/bin/echo", "--", "2")
	if one, two := harness.AppOutput(r.Stdout, "one"), harness.AppOutput(r.Stdout, "two"); one != "[of the image][1]\n" || two != "2\n" {
		t.Errorf("%q and %q: %s", one, two, r)
	}
	p.refused(254, "multiple apps with name", "run", p.stage1, image, image)
}

// environ is what a process of an app has in its environment, byte for byte.
func (p *pods) environ(image string, flags ...string) map[string]string {
	p.t.Helper()
	r := p.Run(p.program(image, append(flags, "--exec=/bin/base64"), "-w", "0", "/proc/self/environ")...)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(harness.AppOutput(r.Stdout, "app")))
	if err != nil || r.Status != 0 {
		p.t.Fatalf("%v: %s", err, r)
	}
	env := map[string]string{}
	for kv := range strings.SplitSeq(strings.TrimSuffix(string(raw), "\x00"), "\x00") {
		k, v, _ := strings.Cut(kv, "=")
		if _, twice := env[k]; twice {
			p.t.Errorf("variable %s is there twice", k)
		}
		env[k] = v
	}
	return env
}

// TestPodEnvironment: every byte arrives, and nothing of the host's.
func TestPodEnvironment(t *testing.T) {
	p := newPods(t)
	odd := map[string]string{
		"NEWLINES": "one\ntwo\n\n[Service]\nExecStart=/bin/false\n", "QUOTES": `"double" 'single' \back\\slash`, "BLANKS": "  around  ", "HASH": "#x", "SEMI": ";x",
		"DOLLAR": "$HOME ${HOME} $$", "PERCENT": "%n %% %i", "EMPTY": "", "EQUALS": "a=b=c", "TAB": "\ta\t", "UTF": "é€\u202e", "CONTROL": "\x01\x1b[31m\x7f", "lower-case.odd": "name",
	}
	var list []map[string]string
	for k, v := range odd {
		list = append(list, map[string]string{"name": k, "value": v})
	}
	list = append(list, map[string]string{"name": "OVER", "value": "image"}, map[string]string{"name": "SET", "value": "image"})
	image := p.Fetch(harness.Busybox(t, map[string]any{"environment": list}))
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# comment\n\n; too\nFILE=of the file\nSET=file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Env = []string{"RKT_TEST_OF_THE_CALLER=1", "SET=caller"}
	env := p.environ(image, "--set-env-file="+file, "--set-env=SET=flag", "--set-env=OVER=flag", "--environment=OVER=app")
	for k, want := range odd {
		if got, ok := env[k]; !ok || got != want {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
	for k, want := range map[string]string{
		"FILE": "of the file", "SET": "flag", "OVER": "app", "AC_APP_NAME": "app", "container": "rkt", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"USER": "root", "LOGNAME": "root", "HOME": "/root", "SHELL": "/bin/sh",
	} {
		if env[k] != want {
			t.Errorf("%s is %q, want %q", k, env[k], want)
		}
	}
	for k := range env {
		if strings.HasPrefix(k, "RKT_") || strings.HasPrefix(k, "SYSTEMD_") || k == "LD_LIBRARY_PATH" || k == "NOTIFY_SOCKET" || k == "TERM" {
			t.Errorf("the app has %s=%q", k, env[k])
		}
	}
	env = p.environ(image, "--inherit-env")
	if env["RKT_TEST_OF_THE_CALLER"] != "1" || env["SET"] != "image" || env["HOME"] == "" {
		t.Errorf("--inherit-env: %q", env)
	}
	env = p.environ(image, "--user=alice")
	if env["HOME"] != "/home" || env["USER"] != "alice" || env["LOGNAME"] != "alice" {
		t.Errorf("of a user with a passwd entry: HOME=%q USER=%q LOGNAME=%q", env["HOME"], env["USER"], env["LOGNAME"])
	}
}

// TestPodUsers: user and group in every form (apps.md 7).
func TestPodUsers(t *testing.T) {
	p := newPods(t)
	entries := append(harness.BusyboxEntries(t),
		harness.File("owned", 0o644, ""), harness.Symlink("link", "/owned"), harness.File("etc/passwd.odd", 0o644, ""))
	for i := range entries {
		switch entries[i].Name {
		case "owned":
			entries[i].Uid, entries[i].Gid = 1234, 4321
		case "link":
			entries[i].Uid, entries[i].Gid = 77, 88
		case "etc/group": // without an end of the last line
			entries[i].Body = "root:x:0:\nwheel:x:10:alice\nstaff:x:50:alice"
		}
	}
	image := p.Fetch(harness.ACI(t, harness.Manifest("example.com/users", "1", map[string]any{"user": "alice", "group": "staff"}), entries))
	ids := "echo $(id -u) $(id -g) $(grep Groups /proc/self/status | cut -f2)"
	for name, tt := range map[string]struct {
		flags []string
		want  string
	}{
		"image":              {nil, "1000 50 50"},
		"root":               {[]string{"--user=root", "--group=root"}, "0 0 0"},
		"numbers":            {[]string{"--user=1000", "--group=100"}, "1000 100 100"},
		"unknown numbers":    {[]string{"--user=4000000000", "--group=4000000001"}, "4000000000 4000000001 4000000001"},
		"path":               {[]string{"--user=/owned", "--group=/owned"}, "1234 4321 4321"},
		"link":               {[]string{"--user=/link", "--group=/link"}, "77 88 88"},
		"supplementary":      {[]string{"--user=0", "--group=0", "--supplementary-gids=400,500,1200"}, "0 0 0 400 500 1200"},
		"not of /etc/group":  {[]string{"--user=alice", "--group=0"}, "1000 0 0"},
		"supplementary user": {[]string{"--supplementary-gids=7"}, "1000 50 7 50"},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.Run(p.program(image, append(tt.flags, "--exec=/bin/sh"), "-c", ids)...)
			if got := strings.TrimSpace(harness.AppOutput(r.Stdout, "app")); r.Status != 0 || got != tt.want {
				t.Errorf("%q, want %q: %s", got, tt.want, r)
			}
		})
	}
	for flag, want := range map[string]string{
		"--user=nobody-here": `"nobody-here" user not found`, "--group=nobody-here": `"nobody-here" group not found`,
		"--user=4294967296": "4294967296", "--user=-1": "-1", "--group=4294967295": "4294967295", "--user=0 ": `"0 "`, "--user=/not/there": "/not/there",
		"--group=99999999999999999999": "99999999999999999999", "--user=../owned": "../owned",
	} {
		r := p.refused(254, want, p.program(image, []string{flag, "--exec=/bin/id"})...)
		if !strings.Contains(r.Stderr, "stage1: ") || strings.Contains(r.Stdout, "uid=") {
			t.Errorf("%s: %s", flag, r)
		}
	}
	p.Fail(254, "--supplementary-gids must be integers", p.program(image, []string{"--supplementary-gids=x"})...)
}

// TestPodWorkingDirectory: through links, in volumes, and not out of the root.
func TestPodWorkingDirectory(t *testing.T) {
	p := newPods(t)
	entries := append(harness.BusyboxEntries(t), harness.Symlink("link", "/home"), harness.Dir("dir", 0o755))
	image := p.Fetch(harness.ACI(t, harness.Manifest("example.com/dirs", "1", map[string]any{"workingDirectory": "/dir"}), entries))
	pwd := func(flags ...string) string {
		t.Helper()
		return strings.TrimSpace(harness.AppOutput(p.OK(p.program(image, append(flags, "--exec=/bin/pwd"))...), "app"))
	}
	if got := pwd(); got != "/dir" {
		t.Errorf("of the image: %q", got)
	}
	if got := pwd("--working-dir=/link"); got != "/home" {
		t.Errorf("through a link: %q", got)
	}
	if got := pwd("--working-dir=/v/deep", "--volume=v,kind=host,source="+volumeDir(t, "deep/f"), "--mount=volume=v,target=/v"); got != "/v/deep" {
		t.Errorf("in a volume: %q", got)
	}
	for _, dir := range []string{"/proc/self/fd/3", "/proc/1/cwd", "/proc/self/root", "/not/there", "/etc/passwd"} {
		p.refused(254, dir, p.program(image, []string{"--exec=/bin/pwd", "--working-dir=" + dir})...)
	}
}

// volumeDir makes a directory with files that hold their names.
func volumeDir(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(f+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestPodManifest: a pod written by hand.
func TestPodManifest(t *testing.T) {
	p := newPods(t)
	app := func(name, script string, more map[string]any) map[string]any {
		a := map[string]any{"name": name, "image": map[string]any{"id": p.image[:20]}}
		section := map[string]any{"exec": []string{"/bin/sh", "-c", script}, "user": "0", "group": "0"}
		for k, v := range more {
			if k == "readOnlyRootFS" || k == "mounts" {
				a[k] = v
			} else {
				section[k] = v
			}
		}
		a["app"] = section
		return a
	}
	run := func(apps []map[string]any, volumes []map[string]any) harness.Result {
		t.Helper()
		data, err := json.Marshal(map[string]any{"acKind": "PodManifest", "acVersion": "0.8.11", "apps": apps, "volumes": volumes, "isolators": nil, "annotations": nil, "ports": nil})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "pod.json")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return p.Run("run", p.stage1, "--net=none", "--pod-manifest="+file)
	}
	shared := []map[string]any{{"volume": "shared", "path": "/shared"}}
	r := run([]map[string]any{
		app("writer", "echo from the writer >/shared/x; mv /shared/x /shared/f", map[string]any{"mounts": shared}),
		app("reader", "until [ -e /shared/f ]; do sleep 0.05; done; cat /shared/f; touch /x 2>&1 || echo refused", map[string]any{"mounts": shared, "readOnlyRootFS": true, "user": "1000"}),
	}, []map[string]any{{"name": "shared", "kind": "empty"}})
	if got := harness.AppOutput(r.Stdout, "reader"); r.Status != 0 || !strings.HasPrefix(got, "from the writer\n") || !strings.Contains(got, "Read-only file system") {
		t.Errorf("%q: %s", got, r)
	}
	for name, apps := range map[string][]map[string]any{
		`app name "systemd-journald": the name is reserved`: {app("systemd-journald", "true", nil)},
		"could not find volume":                             {app("a", "true", map[string]any{"mounts": []map[string]any{{"volume": "none", "path": "/x"}}})},
		`unknown isolator "example.com/other"`:              {app("a", "true", map[string]any{"isolators": []map[string]any{{"name": "example.com/other", "value": true}}})},
	} {
		if r := run(apps, nil); r.Status != 254 || !strings.Contains(r.Stderr, name) {
			t.Errorf("want %q: %s", name, r)
		}
	}
}
