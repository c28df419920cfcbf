// SPDX-License-Identifier: Apache-2.0

package appuser

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

const (
	passwd = `# comment
root:x:0:0:root:/root:/bin/bash
broken:x:abc:0::/:/bin/sh
huge:x:4294967296:0::/:/bin/sh
minus:x:-1:0::/:/bin/sh
short:x
www:x:33:33:www:/var/www:/usr/sbin/nologin
twice:x:50:50::/a:/bin/a
twice:x:51:51::/b:/bin/b
nohome:x:70:70::relative:
last:x:99:99::/last:/bin/last`
	groups = "root:x:0:\nwww-data:x:33:www\nbroken:x:abc:\nlast:x:77:"
)

func newRoot(t testing.TB, files map[string]string) (*inroot.Root, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := inroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, dir
}

func TestResolve(t *testing.T) {
	r, _ := newRoot(t, map[string]string{"etc/passwd": passwd, "etc/group": groups})
	for _, tt := range []struct {
		user, group string
		want        IDs
	}{
		{"root", "root", IDs{Account: Account{"root", "/root", "/bin/bash"}}},
		{"0", "0", IDs{Account: Account{"root", "/root", "/bin/bash"}}},
		{"www", "www-data", IDs{UID: 33, GID: 33, Account: Account{"www", "/var/www", "/usr/sbin/nologin"}}},
		{"last", "last", IDs{UID: 99, GID: 77, Account: Account{"last", "/last", "/bin/last"}}},
		{"twice", "5", IDs{UID: 50, GID: 5, Account: Account{"twice", "/a", "/bin/a"}}},
		{"1234", "4294967294", IDs{UID: 1234, GID: 4294967294, Account: Account{"1234", "/", "/bin/sh"}}},
		{"70", "root", IDs{UID: 70, Account: Account{"nohome", "/", "/bin/sh"}}},
	} {
		got, err := Resolve(r, Request{User: tt.user, Group: tt.group})
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s:%s: %v\n%s", tt.user, tt.group, err, diff)
		}
	}
}

func TestRefused(t *testing.T) {
	r, _ := newRoot(t, map[string]string{"etc/passwd": passwd, "etc/group": groups})
	for _, tt := range []struct {
		user, group, want string
		is                error
	}{
		{"nobody", "0", `"nobody" user not found`, ErrUserNotFound},
		{"broken", "0", `"broken" user not found`, ErrUserNotFound},
		{"huge", "0", `"huge" user not found`, ErrUserNotFound},
		{"minus", "0", `"minus" user not found`, ErrUserNotFound},
		{"short", "0", `"short" user not found`, ErrUserNotFound},
		{"0", "www", `"www" group not found`, ErrGroupNotFound},
		{"0", "broken", `"broken" group not found`, ErrGroupNotFound},
		{"-1", "0", `user "-1": ID is out of range`, ErrRange},
		{"4294967295", "0", `user "4294967295": ID is out of range`, ErrRange},
		{"99999999999999999999999", "0", `user "99999999999999999999999": ID is out of range`, ErrRange},
		{"0", "-0", `group "-0": ID is out of range`, ErrRange},
		{"", "0", "user is required", nil},
		{"0", "/nothing", `group "/nothing": no such file or directory`, os.ErrNotExist},
	} {
		_, err := Resolve(r, Request{User: tt.user, Group: tt.group})
		if err == nil || err.Error() != tt.want || (tt.is != nil && !errors.Is(err, tt.is)) {
			t.Errorf("%s:%s: %v, want %s", tt.user, tt.group, err, tt.want)
		}
	}
	if _, err := Resolve(r, Request{User: "0", Group: "0", SupplementaryGIDs: []int{-1}}); !errors.Is(err, ErrRange) {
		t.Error(err)
	}
}

func TestNoFiles(t *testing.T) {
	r, _ := newRoot(t, nil)
	got, err := Resolve(r, Request{User: "root", Group: "7", SupplementaryGIDs: []int{400, 500}})
	want := IDs{GID: 7, Groups: []int{400, 500}, Account: Account{"root", "/root", "/bin/sh"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := Resolve(r, Request{User: "www", Group: "0"}); !errors.Is(err, ErrUserNotFound) || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestDockerGroup(t *testing.T) {
	r, _ := newRoot(t, map[string]string{"etc/passwd": passwd, "etc/group": groups})
	got, err := Resolve(r, Request{User: "www", Group: "www", ImageUser: "www"})
	if err != nil || got.UID != 33 || got.GID != 33 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, q := range []Request{
		{User: "www", Group: "www"},
		{User: "www", Group: "www", ImageUser: "other"},
		{User: "www", Group: "none", ImageUser: "www"},
	} {
		if _, err := Resolve(r, q); !errors.Is(err, ErrGroupNotFound) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestOwnerOfPath(t *testing.T) {
	testenv.NeedsRoot(t)
	r, dir := newRoot(t, map[string]string{"owned": ""})
	if err := os.Chown(filepath.Join(dir, "owned"), 65536+12, 65536+34); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/owned", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(filepath.Join(dir, "link"), 7, 8); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path     string
		shift    uint32
		uid, gid int
	}{{"/owned", 0, 65548, 65570}, {"/owned", 65536, 12, 34}, {"/link", 0, 7, 8}} {
		q := Request{User: tt.path, Group: tt.path, Shift: tt.shift}
		if tt.shift != 0 {
			q.Count = 65536
		}
		if got, err := Resolve(r, q); err != nil || got.UID != tt.uid || got.GID != tt.gid {
			t.Errorf("%+v: %+v, %v", tt, got, err)
		}
	}
	if _, err := Resolve(r, Request{User: "/link", Group: "0", Shift: 65536, Count: 65536}); !errors.Is(err, ErrRange) {
		t.Error(err)
	}
}

// FuzzParse: a line that is taken prints back as its first and third field.
func FuzzParse(f *testing.F) {
	f.Add("www:x:33:33:www:/var/www:/usr/sbin/nologin")
	f.Add("a:b:1")
	f.Add("a:b:c:d")
	f.Add(":::")
	f.Fuzz(func(t *testing.T, line string) {
		e, ok := passwdFile.parse(line)
		if !ok {
			return
		}
		fields := strings.Split(line, ":")
		if e.name == "" || e.name != fields[0] || strings.TrimLeft(fields[2], "0") != strings.TrimLeft(strconv.Itoa(e.id), "0") {
			t.Errorf("%q: %+v", line, e)
		}
	})
}
