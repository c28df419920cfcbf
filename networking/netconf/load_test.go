// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes the directories of a test: "kind/file" is a file's path, and its
// text is what it holds.
type tree map[string]string

// one is a configuration of one plugin.
func one(name string) string { return `{"name": "` + name + `", "type": "t"}` }

func (files tree) load(t *testing.T) (*Set, string) {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Load(dirs(root)), root
}

func dirs(root string) []Dir {
	return []Dir{
		{filepath.Join(root, "cni"), CNI},
		{filepath.Join(root, "builtin"), Builtin},
		{filepath.Join(root, "system"), User},
		{filepath.Join(root, "local"), User},
	}
}

func TestSelect(t *testing.T) {
	builtin := tree{"builtin/99-default.conf": one("default"), "builtin/99-default-restricted.conf": one("default-restricted")}
	long := strings.Repeat("long-", 12) + "name"
	for name, tt := range map[string]struct {
		files    tree
		list     string
		want     []string // paths, in order
		messages []string
		err      string // a part
	}{
		"default":         {list: "default", want: []string{"builtin/99-default.conf"}},
		"host":            {list: "host"},
		"none":            {list: "none"},
		"order of files":  {list: "default,default-restricted", want: []string{"builtin/99-default-restricted.conf", "builtin/99-default.conf"}},
		"all of built-in": {list: "all", want: []string{"builtin/99-default-restricted.conf", "builtin/99-default.conf"}},
		"all": {
			files: tree{"local/10-a.conf": one("a"), "system/20-b.json": one("b"), "cni/00-c.conf": one("c")},
			list:  "all", want: []string{"local/10-a.conf", "system/20-b.json", "builtin/99-default-restricted.conf", "builtin/99-default.conf"},
		},
		"all and one of CNI": {
			files: tree{"local/10-a.conf": one("a"), "cni/00-c.conf": one("c"), "cni/00-d.conf": one("d")},
			list:  "all,c", want: []string{"cni/00-c.conf", "local/10-a.conf", "builtin/99-default-restricted.conf", "builtin/99-default.conf"},
		},
		"all and an unknown one": {list: "all,x", err: "networks not found: x"},
		"CNI by name": {
			files: tree{"cni/00-c.conf": one("c"), "cni/l.conflist": `{"name": "l", "plugins": [{"type": "t"}]}`},
			list:  "l,c", want: []string{"cni/00-c.conf", "cni/l.conflist"},
		},
		"CNI replaces nothing": {
			files: tree{"cni/00-c.conf": one("default"), "cni/a.conf": one("a"), "local/a.conf": one("a"), "cni/b.conf": one("a")},
			list:  "default,a", want: []string{"builtin/99-default.conf", "local/a.conf"},
		},
		"user over built-in": {
			files: tree{"local/10-mine.conf": one("default")},
			list:  "default", want: []string{"local/10-mine.conf"},
			messages: []string{`overriding "default" network with one from ROOT/local`},
		},
		"user over user": {
			files: tree{"local/10-a.conf": one("a"), "system/10-a.conf": one("a")},
			list:  "a", want: []string{"local/10-a.conf"},
			messages: []string{`overriding "a" network with one from ROOT/local`},
		},
		"twice in one directory": {
			files: tree{"local/10-a.conf": one("a"), "local/20-a.conf": one("a"), "local/b.conf": one("b"), "local/c.conf": one("b")},
			list:  "a", want: []string{"local/10-a.conf"},
			messages: []string{`"a" network already defined, ignoring 20-a.conf`},
		},
		"twice in CNI": {
			files: tree{"cni/10-a.conf": one("a"), "cni/20-a.conf": one("a")},
			list:  "a", want: []string{"cni/10-a.conf"},
			messages: []string{`"a" network already defined, ignoring 20-a.conf`},
		},
		"byte order": {
			files: tree{"local/b.conf": one("b"), "local/B.conf": one("c"), "local/a.conf": one("a"), "local/10.conf": one("d"), "local/9.conf": one("e")},
			list:  "a,b,c,d,e", want: []string{"local/10.conf", "local/9.conf", "local/B.conf", "local/a.conf", "local/b.conf"},
		},
		"endings": {
			files: tree{"builtin/x.json": one("x"), "cni/x.json": one("x"), "local/x.conf.bak": one("x"), "local/x": one("x"), "local/d.conf/x.conf": one("x")},
			list:  "x", err: "networks not found: x",
		},
		"unknown ones":   {list: "z,default,a\n,b", err: `networks not found: "a\n", b, z`},
		"long name":      {files: tree{"local/l.conf": one(long)}, list: long, want: []string{"local/l.conf"}},
		"broken, other":  {files: tree{"local/x.conf": "{", "builtin/y.conf": `{"name": "y"}`}, list: "default", want: []string{"builtin/99-default.conf"}},
		"broken, unsure": {files: tree{"local/x.conf": "{"}, list: "y", err: "networks not found: y (broken configurations: ROOT/local/x.conf: not a JSON object"},
		"broken":         {files: tree{"local/x.conf": `{"name": "y"}`}, list: "y", err: `network "y": ROOT/local/x.conf: no type`},
		"broken, all":    {files: tree{"local/x.conf": `{"name": "y"}`}, list: "all", want: []string{"builtin/99-default-restricted.conf", "builtin/99-default.conf"}},
		"broken override": {
			files: tree{"local/x.conf": `{"name": "default"}`},
			list:  "default", err: `network "default": ROOT/local/x.conf: no type`,
		},
		"broken override, all": {files: tree{"local/x.conf": `{"name": "default"}`}, list: "all", want: []string{"builtin/99-default-restricted.conf"}},
		"broken CNI":           {files: tree{"cni/x.conf": `{"name": "default"}`}, list: "default", want: []string{"builtin/99-default.conf"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := tree{}
			for _, m := range []tree{builtin, tt.files} {
				for k, v := range m {
					files[k] = v
				}
			}
			set, root := files.load(t)
			networks, err := set.Select(request(t, tt.list))
			if want := strings.ReplaceAll(tt.err, "ROOT", root); want != "" {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("got %v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := paths(networks, root); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			messages := set.MessagesAbout(networks)
			for i := range messages {
				messages[i] = strings.ReplaceAll(messages[i], root, "ROOT")
			}
			if !slices.Equal(messages, tt.messages) {
				t.Errorf("messages %q, want %q", messages, tt.messages)
			}
		})
	}
}

func paths(networks []Network, root string) []string {
	var list []string
	for _, n := range networks {
		rel, _ := filepath.Rel(root, n.Path)
		list = append(list, rel)
	}
	return list
}

func TestNetwork(t *testing.T) {
	text := ` {"cniVersion": "0.4.0", "name": "n", "plugins": [{"type": "a", "ipam": {"type": "i"}}, {"type": "b", "IpMasq": true, "capabilities": {"ips": true}}]}` + "\n"
	set, root := tree{"local/n.conflist": text}.load(t)
	networks, err := set.Select(request(t, "n:IP=::1"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Network{{
		Name: "n", Path: filepath.Join(root, "local/n.conflist"), Base: "n.conflist", RecordName: "n.conflist",
		Bytes: []byte(text), Kind: User, Chain: true, Types: []string{"a", "b"}, CNIVersion: "0.4.0", IPAMType: "i",
		IPMasq: true, Capabilities: map[string]bool{"ips": true}, Args: "IP=::1",
	}}
	if !reflect.DeepEqual(networks, want) {
		t.Errorf("got %+v\nwant %+v", networks, want)
	}
}

func TestRecordNames(t *testing.T) {
	long := strings.Repeat("x", maxBase-len(".conf")) + ".conf"
	for name, tt := range map[string]struct{ bases, want []string }{
		"different":   {[]string{"a.conf", "b.conf"}, []string{"a.conf", "b.conf"}},
		"same":        {[]string{"a.conf", "b.conf", "b.conf"}, []string{"a.conf", "1-b.conf", "2-b.conf"}},
		"prefix used": {[]string{"1-b.conf", "b.conf", "b.conf"}, []string{"1-b.conf", "4-b.conf", "2-b.conf"}},
		"long":        {[]string{long, long}, []string{"0-" + long[2:], "1-" + long[2:]}},
		"long used":   {[]string{"1-" + long[2:], long, long}, []string{"1-" + long[2:], "4-" + long[2:], "2-" + long[2:]}},
	} {
		t.Run(name, func(t *testing.T) {
			networks := make([]Network, len(tt.bases))
			for i, base := range tt.bases {
				networks[i].Base = base
			}
			nameRecords(networks)
			for i, n := range networks {
				if n.RecordName != tt.want[i] {
					t.Errorf("%d: %q, want %q", i, n.RecordName, tt.want[i])
				}
			}
		})
	}
}

func TestSelectSameBase(t *testing.T) {
	set, root := tree{"local/a.conf": one("x"), "system/a.conf": one("y"), "builtin/b.conf": one("z")}.load(t)
	networks, err := set.Select(request(t, "x,y,z"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := paths(networks, root), []string{"local/a.conf", "system/a.conf", "builtin/b.conf"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if a, b, c := networks[0].RecordName, networks[1].RecordName, networks[2].RecordName; a != "0-a.conf" || b != "1-a.conf" || c != "b.conf" {
		t.Errorf("record names %q, %q, %q", a, b, c)
	}
}

func TestLoadFiles(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "local")
	for _, d := range []string{dir, filepath.Join(dir, "dir.conf")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	target := filepath.Join(root, "target")
	errs := []error{
		os.WriteFile(target, []byte(one("linked")), 0o644),
		os.Symlink(target, filepath.Join(dir, "link.conf")),
		os.Symlink("nowhere", filepath.Join(dir, "dangling.conf")),
		os.Symlink(root, filepath.Join(dir, "dirlink.conf")),
		os.Symlink("loop.conf", filepath.Join(dir, "loop.conf")),
		unix.Mkfifo(filepath.Join(dir, "fifo.conf"), 0o644),
		os.WriteFile(filepath.Join(dir, "big.conf"), bytes.Repeat([]byte(" "), maxFileSize+1), 0o644),
		os.WriteFile(filepath.Join(dir, "fits.conf"), append(bytes.Repeat([]byte(" "), maxFileSize-len(one("fits"))), one("fits")...), 0o644),
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	set := Load(dirs(root))
	networks, err := set.Select(request(t, "all"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := paths(networks, root), []string{"local/fits.conf", "local/link.conf"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	var got []string
	for _, b := range set.Broken {
		got = append(got, strings.TrimPrefix(b.String(), "ignoring "+dir+"/"))
	}
	want := []string{
		"big.conf: more than 1048576 bytes", "dangling.conf: no such file or directory", "dirlink.conf: not a regular file",
		"fifo.conf: not a regular file", "loop.conf: too many levels of symbolic links",
	}
	if !slices.Equal(got, want) {
		t.Errorf("broken %q, want %q", got, want)
	}
}

func TestLoadAbsent(t *testing.T) {
	set := Load(dirs(t.TempDir()))
	if len(set.Broken) > 0 || len(set.Messages) > 0 {
		t.Errorf("%+v", set)
	}
	networks, err := set.Select(request(t, "all"))
	if err != nil || len(networks) > 0 {
		t.Errorf("%v, %v", networks, err)
	}
	_, err = set.Select(request(t, "default"))
	if e, ok := errors.AsType[*NotFoundError](err); !ok || !slices.Equal(e.Names, []string{"default"}) || err.Error() != "networks not found: default" {
		t.Errorf("%v", err)
	}
}

func TestLoadNoDirectory(t *testing.T) {
	set, root := tree{"local": "a file", "builtin/a.conf": one("a")}.load(t)
	if len(set.Broken) != 1 || set.Broken[0].Path != filepath.Join(root, "local") || !errors.Is(set.Broken[0].Err, unix.ENOTDIR) {
		t.Errorf("%+v", set.Broken)
	}
	if networks, err := set.Select(request(t, "a")); err != nil || len(networks) != 1 {
		t.Errorf("%v, %v", networks, err)
	}
}

func TestLoadTooMany(t *testing.T) {
	files := tree{}
	for i := range maxFiles + 2 {
		name := fmt.Sprintf("n%03d", i)
		files["local/"+name+".conf"] = one(name)
	}
	set, root := files.load(t)
	networks, err := set.Select(request(t, "all"))
	if err != nil || len(networks) != maxFiles {
		t.Fatalf("%d networks, %v", len(networks), err)
	}
	want := Broken{filepath.Join(root, "local"), nil}
	if len(set.Broken) != 1 || set.Broken[0].Path != want.Path || !strings.Contains(set.Broken[0].Err.Error(), "all from n256.conf on are left out") {
		t.Errorf("%+v", set.Broken)
	}
	if _, err := set.Select(request(t, "n257")); err == nil || !strings.Contains(err.Error(), "has 258 configurations") {
		t.Errorf("%v", err)
	}
}

func TestNotFoundNamesAFewBroken(t *testing.T) {
	e := &NotFoundError{Names: []string{"x"}}
	for _, path := range []string{"/a", "/b", "/c\n", "/d", "/e"} {
		e.Broken = append(e.Broken, Broken{path, fs.ErrInvalid})
	}
	want := `networks not found: x (broken configurations: /a: invalid argument; /b: invalid argument; "/c\n": invalid argument; and 2 more)`
	if got := e.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"", "null", "{", one("default"), `{"Name": "n", "name": "m", "TYPE": "t", "cniversion": "0.3.1", "args": ["a=b"], "ipam": {"type": "x"}}`,
		`{"name": "n", "cniVersions": ["1.1.0", "0.1.0"], "plugins": [{"type": "t", "capabilities": {"ips": true}}, {"Type": "u", "ipMasq": true}]}`,
		`{"name": "n", "type": "../t"}`, `{"name": "n", "type": "t", "dns": [], "prevResult": {}}`, "{\"name\": \"n\", \"type\": \"\xff\"}",
		`{"name": "n", "diſableCheck": true, "plugin\u017f": [{"type": "t"}]}`,
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, chain bool) {
		base := "n.conf"
		if chain {
			base = "n.conflist"
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, base), data, 0o644); err != nil {
			t.Fatal(err)
		}
		set := Load([]Dir{{dir, User}})
		networks, err := set.Select(request(t, "all"))
		if err != nil || len(networks)+len(set.Broken) != 1 {
			t.Fatalf("%d networks, broken %v, %v", len(networks), set.Broken, err)
		}
		for _, n := range networks {
			checkNetwork(t, n, data, chain)
		}
	})
}

func checkNetwork(t *testing.T, n Network, data []byte, chain bool) {
	t.Helper()
	if !nameRE.MatchString(n.Name) || len(n.Types) == 0 || n.CNIVersion == "" || n.Chain != chain || !bytes.Equal(n.Bytes, data) {
		t.Errorf("%+v", n)
	}
	list, err := n.ConfList()
	if err != nil {
		t.Fatal(err)
	}
	if list.Name != n.Name || list.CNIVersion != n.CNIVersion || len(list.Plugins) != len(n.Types) {
		t.Fatalf("%+v is not %+v", list, n)
	}
	for i, p := range list.Plugins {
		if p.Network.Type != n.Types[i] || p.Network.Type == "" || strings.ContainsAny(p.Network.Type, "/\x00") {
			t.Errorf("type %q, want %q", p.Network.Type, n.Types[i])
		}
		for name, declared := range p.Network.Capabilities {
			if declared && !n.Capabilities[name] {
				t.Errorf("capability %q of %+v", name, n)
			}
		}
	}
}
