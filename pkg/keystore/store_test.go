// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// newEntity makes a key without gpg.
func newEntity(t testing.TB, name string) *openpgp.Entity {
	t.Helper()
	made := time.Now().Add(-time.Hour)
	e, err := openpgp.NewEntity(name, "", name+"@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made },
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func publicOf(t testing.TB, entities ...*openpgp.Entity) *Keys {
	t.Helper()
	var b bytes.Buffer
	for _, e := range entities {
		if err := e.Serialize(&b); err != nil {
			t.Fatal(err)
		}
	}
	return mustKeys(t, b.Bytes())
}

func armored(t testing.TB, keys *Keys) []byte {
	t.Helper()
	data, err := keys.Armored()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestKeyring puts files at places of both levels and tells which keys are
// trusted for an image. K1 and K2 in names and contents are fingerprints and keys.
func TestKeyring(t *testing.T) {
	one, two := publicOf(t, newEntity(t, "one")), publicOf(t, newEntity(t, "two"))
	names := strings.NewReplacer("K1", string(one.Fingerprint()), "K2", string(two.Fingerprint()))
	content := map[string][]byte{"K1": armored(t, one), "K2": armored(t, two), "": nil, "text": []byte("hello\n")}
	for _, tt := range []struct {
		name  string
		files map[string]string // path → content
		image appc.Identifier
		want  string // "K1,K2" or "error: TEXT"
	}{
		{"nothing", nil, "a/b", ""},
		{"root keys", map[string]string{"system/root.d/K1": "K1", "local/root.d/K2": "K2"}, "a/b", "K1,K2"},
		{"prefixes", map[string]string{"local/prefix.d/a/K1": "K1", "system/prefix.d/a/b/K2": "K2"}, "a/b", "K1,K2"},
		{"above", map[string]string{"local/prefix.d/a/b/K1": "K1", "local/prefix.d/a/b/c/K2": "K2"}, "a/b", "K1"},
		{"begin of a component", map[string]string{"local/prefix.d/a/b/K1": "K1"}, "a/bc", ""},
		{"rest of a component", map[string]string{"local/prefix.d/a/bc/K1": "K1"}, "a/b", ""},
		{"other root", map[string]string{"local/prefix.d/b/K1": "K1"}, "a/b", ""},
		{"mask of the same scope", map[string]string{"system/prefix.d/a/K1": "K1", "local/prefix.d/a/K1": ""}, "a", ""},
		{"mask of a root key", map[string]string{"system/root.d/K1": "K1", "local/root.d/K1": ""}, "a", ""},
		{"mask of a root key for one prefix", map[string]string{"system/root.d/K1": "K1", "local/prefix.d/a/K1": ""}, "a/b", ""},
		{"that does not count elsewhere", map[string]string{"system/root.d/K1": "K1", "local/prefix.d/a/K1": ""}, "b", "K1"},
		{"mask of the system", map[string]string{"local/root.d/K1": "K1", "system/prefix.d/a/K1": ""}, "a", ""},
		{"trusted again below", map[string]string{"local/prefix.d/a/K1": "", "local/prefix.d/a/b/K1": "K1"}, "a/b", "K1"},
		{"root mask leaves prefix", map[string]string{"local/root.d/K1": "", "system/prefix.d/a/K1": "K1"}, "a", "K1"},
		{"being written", map[string]string{"local/root.d/.K1.tmp-123": "text"}, "a", ""},
		{"wrong name", map[string]string{"local/root.d/K1": "K2"}, "a", "error: fingerprint mismatch: "},
		{"no fingerprint as name", map[string]string{"local/root.d/README": "text"}, "a", "error: not named by a fingerprint"},
		{"key under another name", map[string]string{"local/root.d/key.asc": "K1"}, "a", "error: fingerprint mismatch: "},
		{"misspelled mask", map[string]string{"system/root.d/K1": "K1", "local/root.d/K1.off": ""}, "a", "error: not named by a fingerprint"},
		{"no key", map[string]string{"local/root.d/K1": "text"}, "a", "error: not an OpenPGP public key"},
		{"stray in another prefix", map[string]string{"local/prefix.d/b/README": "text", "local/root.d/K1": "K1"}, "a", "K1"},
		{"name that is no path", nil, "a/../b", "error: component"},
		{"name with an empty component", nil, "a//b", "error: component"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for path, c := range tt.files {
				level, rest, _ := strings.Cut(names.Replace(path), "/")
				write(t, filepath.Join(dir, level, keysDir, rest), content[c])
			}
			s := &Store{SystemDir: filepath.Join(dir, "system"), LocalDir: filepath.Join(dir, "local")}
			ring, err := s.Keyring(tt.image)
			if want, ok := strings.CutPrefix(tt.want, "error: "); ok {
				if err == nil || !strings.HasPrefix(err.Error(), "keystore: error loading keyring: ") || !strings.Contains(err.Error(), want) {
					t.Fatalf("error %v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range []struct {
				name string
				keys *Keys
			}{{"K1", one}, {"K2", two}} {
				if ring.files[k.keys.Fingerprint()] != nil {
					got = append(got, k.name)
				}
			}
			if strings.Join(got, ",") != tt.want || ring.Len() != len(got) {
				t.Errorf("trusted %v, want %s", got, tt.want)
			}
		})
	}
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// What is no plain file or directory does not confuse or block the store.
func TestOddFiles(t *testing.T) {
	keys := publicOf(t, newEntity(t, "one"))
	fp := string(keys.Fingerprint())
	for _, tt := range []struct {
		name string
		make func(t *testing.T, base string) error
		want string // error; "" for one trusted key, "none" for none
	}{
		{"link to a file", func(t *testing.T, base string) error {
			write(t, filepath.Join(base, "..", "k"), armored(t, keys))
			return os.Symlink("../../k", filepath.Join(base, rootDir, fp))
		}, ""},
		{"dangling link", func(_ *testing.T, base string) error {
			return os.Symlink("nowhere", filepath.Join(base, rootDir, fp))
		}, "no such file"},
		{"link to a directory", func(_ *testing.T, base string) error {
			return os.Symlink("/", filepath.Join(base, rootDir, fp))
		}, "not a regular file"},
		{"link to itself", func(_ *testing.T, base string) error {
			return os.Symlink(fp, filepath.Join(base, rootDir, fp))
		}, "too many levels"},
		{"prefix that is a link", func(_ *testing.T, base string) error {
			return os.Symlink("../root.d", filepath.Join(base, prefixDir, "a"))
		}, "is not a directory"},
		{"prefix that is a file", func(t *testing.T, base string) error {
			write(t, filepath.Join(base, prefixDir, "a"), nil)
			return nil
		}, "is not a directory"},
		{"fifo", func(_ *testing.T, base string) error {
			return unix.Mkfifo(filepath.Join(base, rootDir, fp), 0o600)
		}, "not a regular file"},
		{"large file", func(t *testing.T, base string) error {
			write(t, filepath.Join(base, rootDir, fp), nil)
			return os.Truncate(filepath.Join(base, rootDir, fp), 1<<40)
		}, "larger than the limit"},
		{"directory among keys", func(_ *testing.T, base string) error {
			return os.Mkdir(filepath.Join(base, rootDir, fp), 0o755)
		}, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Store{LocalDir: t.TempDir()}
			for _, d := range []string{rootDir, prefixDir} {
				if err := os.MkdirAll(filepath.Join(s.base(Local), d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := tt.make(t, s.base(Local)); err != nil {
				t.Fatal(err)
			}
			ring, err := s.Keyring("a/b")
			switch {
			case tt.want == "" || tt.want == "none":
				if err != nil || ring.Len() == 1 == (tt.want == "none") {
					t.Errorf("%v, %+v", err, ring)
				}
			case err == nil || !strings.Contains(err.Error(), tt.want):
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if _, err := s.List(time.Now()); err != nil {
				t.Errorf("List: %v", err)
			}
		})
	}
}

func TestAddRemove(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	dir := t.TempDir()
	s := &Store{SystemDir: filepath.Join(dir, "system"), LocalDir: filepath.Join(dir, "local")}
	keys := publicOf(t, newEntity(t, "one"), newEntity(t, "also"))
	fp := keys.Fingerprint()
	for _, existed := range []bool{false, true} {
		added, err := s.Add("example.com/app", keys)
		want := filepath.Join(dir, "local/trustedkeys/prefix.d/example.com/app", string(fp))
		if err != nil || added.Path != want || added.Existed != existed {
			t.Fatalf("%+v, %v", added, err)
		}
		for path, mode := range map[string]os.FileMode{
			want: 0o644, filepath.Dir(want): 0o755, filepath.Join(dir, "local/trustedkeys"): 0o755,
		} {
			fi, err := os.Stat(path)
			if err != nil || fi.Mode().Perm() != mode {
				t.Errorf("%s: %v, %v", path, fi.Mode(), err)
			}
		}
	}
	if again := mustKeys(t, armored(t, keys)); again.Fingerprint() != fp || len(again.List) != 2 || !bytes.Equal(again.raw, keys.raw) {
		t.Error("stored form is another")
	}
	write(t, filepath.Join(dir, "system/trustedkeys/prefix.d/example.com/app", string(fp)), armored(t, keys))
	write(t, filepath.Join(dir, "system/trustedkeys/root.d", string(fp)), armored(t, keys))
	if _, err := s.Add(Root, keys); err != nil {
		t.Fatal(err)
	}
	infos, err := s.List(time.Now())
	if err != nil || len(infos) != 8 {
		t.Fatalf("%d keys, %v", len(infos), err)
	}
	other := Scope("example.org")
	if removed, err := s.Remove(fp, &other); err != nil || len(removed) != 0 {
		t.Errorf("%v, %v", removed, err)
	}
	removed, err := s.Remove(fp, nil)
	if err != nil || len(removed) != 2 || !removed[0].Masked || !removed[1].Masked {
		t.Fatalf("%+v, %v", removed, err)
	}
	ring, err := s.Keyring("example.com/app")
	if err != nil || ring.Len() != 0 {
		t.Errorf("%v, %v", ring, err)
	}
	if has, err := s.HasPrefixKeys("example.com/app"); has || err != nil {
		t.Errorf("HasPrefixKeys: %v, %v", has, err)
	}
	// Trusting it again takes the mask away.
	if _, err := s.Add("example.com/app", keys); err != nil {
		t.Fatal(err)
	}
	if has, err := s.HasPrefixKeys("example.com/app/x"); !has || err != nil {
		t.Errorf("HasPrefixKeys: %v, %v", has, err)
	}
}

func TestFingerprint(t *testing.T) {
	const digits = "0123456789abcdef0123456789abcdef01234567"
	f, err := ParseFingerprint("0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567")
	if err != nil || f != digits {
		t.Errorf("%q, %v", f, err)
	}
	if f.Pretty() != "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567" || f.KeyID() != "89ABCDEF01234567" {
		t.Errorf("%q, %q", f.Pretty(), f.KeyID())
	}
	for _, bad := range []string{"", "x", digits[1:], digits + "0", digits[1:] + "g", "../" + digits} {
		if f, err := ParseFingerprint(bad); err == nil {
			t.Errorf("%q: %q", bad, f)
		}
	}
}

func TestChain(t *testing.T) {
	chain, err := Scope("example.com/a/b").chain()
	if err != nil || !slices.Equal(chain, []Scope{"example.com", "example.com/a", "example.com/a/b"}) {
		t.Errorf("%v, %v", chain, err)
	}
}

// FuzzScope: the prefixes of a name are those that cover it, and no name leads
// out of the directory.
func FuzzScope(f *testing.F) {
	for _, s := range []string{"a", "a/b", "a/../b", "..", "a//b", "example.com/app", "/a", "a/", "a/.b/c", "a/."} {
		f.Add(s, "a")
	}
	s := &Store{LocalDir: "/l"}
	f.Fuzz(func(t *testing.T, name, other string) {
		path, err := s.path(Local, Scope(name), "f")
		if err == nil && (filepath.Clean(path) != path || !strings.HasPrefix(path, "/l/trustedkeys/")) {
			t.Fatalf("%q is at %s", name, path)
		}
		if name == "" || err != nil {
			return
		}
		chain, err := Scope(name).chain()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range chain {
			if !c.Covers(appc.Identifier(name)) {
				t.Fatalf("%q does not cover %q", c, name)
			}
		}
		if _, err := Scope(other).components(); err == nil && other != "" && Scope(other).Covers(appc.Identifier(name)) != slices.Contains(chain, Scope(other)) {
			t.Fatalf("%q and %q", other, name)
		}
	})
}

// FuzzTrustDir: whatever lies in the directories of keys, under whatever name, a
// key counts only in a file with its own fingerprint.
func FuzzTrustDir(f *testing.F) {
	one := publicOf(f, newEntity(f, "one"))
	key := armored(f, one)
	name := string(one.Fingerprint())
	f.Add("root.d/"+name, key)
	f.Add("prefix.d/example.com/"+name, key)
	f.Add("prefix.d/example.com/app/"+name, []byte{})
	f.Add("prefix.d/example.com/app/"+strings.ToUpper(name), key)
	f.Add("prefix.d/example.com/..", key)
	f.Add("prefix.d/"+name, key)
	f.Add("root.d/x/"+name, key)
	f.Add("root.d/.tmp", []byte("x"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "trustedkeys", name)
		if !filepath.IsLocal(name) || os.MkdirAll(filepath.Dir(path), 0o755) != nil || os.WriteFile(path, data, 0o644) != nil {
			return
		}
		s := &Store{LocalDir: dir}
		ring, err := s.Keyring("example.com/app")
		if err == nil && ring == nil {
			t.Error("neither a keyring nor an error")
		}
		infos, err := s.List(time.Now())
		if err != nil {
			return
		}
		for _, in := range infos {
			if in.Err == nil && in.Fingerprint != "" && filepath.Base(in.Path) != string(in.File) {
				t.Errorf("%q: key %s counts as that of %s", name, in.Fingerprint, in.File)
			}
		}
	})
}
