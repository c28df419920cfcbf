// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// TestRegistration is the table of spec services.md 1.2.
func TestRegistration(t *testing.T) {
	data := t.TempDir()
	podOnDisk(t, data, uuidA)
	s := startService(t, mds.Dir(t.TempDir()), data, nil)
	st, err := os.Lstat(s.files.Socket())
	if err != nil || st.Mode().Perm() != 0o660 || st.Mode()&fs.ModeSocket == 0 {
		t.Errorf("%v, %v", st, err)
	}
	client := unixClient(s.files.Socket())
	const a, b = "/pods/" + string(uuidA), "/pods/" + string(uuidB)
	for _, tt := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"PUT", a + "?token=T", podJSON, 200, ""},
		{"PUT", a + "/web", imageManifest, 200, ""},
		{"PUT", a + "?token=T2", podJSON, 200, ""}, // replaces
		{"PUT", b + "?token=T2", podJSON, 400, "token belongs to another pod"},
		{"PUT", a, podJSON, 400, "token missing"},
		{"PUT", a + "?token=a/b", podJSON, 400, "token malformed"},
		{"PUT", a + "?token=" + strings.Repeat("a", 200), podJSON, 400, "token malformed"},
		{"PUT", "/pods/zz?token=T", podJSON, 400, "UUID is missing or malformed: "},
		{"PUT", "/pods/?token=T", podJSON, 400, "UUID is missing or malformed: "},
		{"PUT", "/pods/../../etc?token=T", podJSON, 400, "UUID is missing or malformed: "},
		{"PUT", a + "?token=T", "{", 400, "JSON-decoding failed: "},
		{"PUT", a + "?token=T", strings.Repeat(" ", maxManifest+1), 413, ""},
		{"PUT", a + "/", imageManifest, 400, "app missing"},
		{"PUT", a + "/UPPER", imageManifest, 400, ""},
		{"PUT", a + "/a/b", imageManifest, 400, ""},
		{"PUT", a + "/web", "{}", 400, "JSON-decoding failed: "},
		{"PUT", b + "/web", imageManifest, 404, "Pod with given UUID not found"},
		{"PUT", b + "?token=T3&dir=relative", podJSON, 400, "not an absolute path"},
		{"PUT", b + "?token=T3&dir=/a/../b", podJSON, 400, "not an absolute path"},
		{"PUT", b + "?token=T3&dir=" + url.QueryEscape(data), podJSON, 400, "pod is not running"},
		{"PUT", a + "?token=T3&dir=" + url.QueryEscape(data), podJSON, 400, "mds-token: no such file"},
		{"DELETE", b, "", 404, "Pod with given UUID not found"},
		{"DELETE", "/pods/1", "", 400, "UUID is missing or malformed: "},
		{"DELETE", a + "/web", "", 405, ""},
		{"GET", a, "", 405, ""},
		{"POST", a, "", 405, ""},
		{"GET", "/", "", 404, ""},
		{"DELETE", a, "", 200, ""},
		{"DELETE", a, "", 404, ""},
	} {
		got := do(t, client, tt.method, "http://m"+tt.path, "", tt.body)
		if got.status != tt.status || !strings.Contains(got.body, tt.text) || tt.status == 200 && got.body != "" {
			t.Errorf("%s %.80s: %+v, want %d %q", tt.method, tt.path, got, tt.status, tt.text)
		}
	}
	if strings.Contains(s.logged(), "T2") {
		t.Errorf("a token in the log:\n%s", s.logged())
	}
}

// TestTokenEndsWithPod: nobody holds the lock any more, so there is no answer,
// and the service forgets.
func TestTokenEndsWithPod(t *testing.T) {
	data := t.TempDir()
	l := podOnDisk(t, data, uuidA)
	s := startService(t, mds.Dir(t.TempDir()), data, nil)
	u := s.url(t, "/"+s.register(t, uuidA)+"/acMetadata/v1/pod/uuid")
	if got := get(t, u); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if got := get(t, u); got.status != 401 {
		t.Errorf("the pod has ended: %+v", got)
	}
	if err := NewClient(s.files).Unregister(context.Background(), openPod(t, data, uuidA)); err != nil {
		t.Errorf("a pod that is forgotten: %v", err)
	}
}

// TestRestart: after the service was killed, every running pod of every data
// directory is known, and no other.
func TestRestart(t *testing.T) {
	data, elsewhere, files := t.TempDir(), t.TempDir(), mds.Dir(t.TempDir())
	podOnDisk(t, data, uuidA)
	ended := podOnDisk(t, elsewhere, uuidB)
	s := startService(t, files, data, nil)
	a := s.register(t, uuidA)
	s.data = elsewhere
	b := s.register(t, uuidB)
	s.end(t)
	// as if it had been killed
	if err := os.WriteFile(files.Socket(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Serve(context.Background(), Config{Files: files, DataDir: data, Getenv: os.Getenv, Log: func(string) {}}); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file in the place of the socket: %v", err)
	}
	if err := os.Remove(files.Socket()); err != nil {
		t.Fatal(err)
	}
	stale, err := listenUnix(files.Socket())
	if err != nil {
		t.Fatal(err)
	}
	_ = stale.Close()

	s = startService(t, files, data, nil)
	for _, token := range []string{a, b} {
		if got := get(t, s.url(t, "/"+token+"/acMetadata/v1/apps/web/annotations/both")); got.status != 200 || got.body != "pod" {
			t.Errorf("%+v", got)
		}
	}
	s.end(t)
	if err := ended.Unlock(); err != nil {
		t.Fatal(err)
	}
	s = startService(t, files, data, nil)
	if got := get(t, s.url(t, "/"+b+"/acMetadata/v1/pod/uuid")); got.status != 401 {
		t.Errorf("ended while the service was down: %+v", got)
	}
	if _, err := os.Lstat(files.Socket()); err != nil {
		t.Error(err)
	}
	s.end(t)
	if _, err := os.Lstat(files.Socket()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}

// TestManifestChanges: apps come and go in a mutable pod.
func TestManifestChanges(t *testing.T) {
	data := t.TempDir()
	podOnDisk(t, data, uuidA)
	s := startService(t, mds.Dir(t.TempDir()), data, nil)
	token := s.register(t, uuidA)
	dir := filepath.Join(data, poddir.Pods, poddir.Run, string(uuidA))
	if err := os.CopyFS(filepath.Join(dir, poddir.AppsInfo, "late"), os.DirFS(filepath.Join(dir, poddir.AppsInfo, "web"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), []byte(strings.Replace(podJSON, `"name":"web"`, `"name":"late"`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, poddir.PodManifest)); err != nil {
		t.Fatal(err)
	}
	for app, want := range map[string]int{"late": 200, "web": 404} {
		if got := get(t, s.url(t, "/"+token+"/acMetadata/v1/apps/"+app+"/image/id")); got.status != want {
			t.Errorf("%s: %+v", app, got)
		}
	}
}

func TestSecretsOfOthers(t *testing.T) {
	files := mds.Dir(t.TempDir())
	for name, make := range map[string]func() error{
		"readable": func() error { return os.WriteFile(files.Key(), []byte(strings.Repeat("k", keySize)), 0o644) },
		"short":    func() error { return os.WriteFile(files.Key(), []byte("k"), 0o600) },
		"long":     func() error { return os.WriteFile(files.Key(), []byte(strings.Repeat("k", keySize+1)), 0o600) },
		"link":     func() error { return os.Symlink("/dev/zero", files.Key()) },
		"dir":      func() error { return os.Mkdir(files.Key(), 0o700) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if _, err := loadSigner(files.Key()); err == nil {
			t.Errorf("%s: taken as the key", name)
		}
		if err := os.Remove(files.Key()); err != nil {
			t.Fatal(err)
		}
	}
	data := t.TempDir()
	podOnDisk(t, data, uuidA)
	file := filepath.Join(data, poddir.Pods, poddir.Run, string(uuidA), poddir.MDSToken)
	if err := os.WriteFile(file, []byte("token"), 0o640); err != nil {
		t.Fatal(err)
	}
	if token, err := readToken(openPod(t, data, uuidA)); err == nil {
		t.Errorf("a token that others can read: %q", token)
	}
}

func TestUnreachable(t *testing.T) {
	data, files := t.TempDir(), mds.Dir(t.TempDir())
	podOnDisk(t, data, uuidA)
	for name, make := range map[string]func() error{
		"missing":      func() error { return nil },
		"not a socket": func() error { return os.WriteFile(files.Socket(), nil, 0o600) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		c := NewClient(files)
		c.pause = 20 * time.Millisecond
		start := time.Now()
		_, err := c.Register(context.Background(), openPod(t, data, uuidA))
		if !errors.Is(err, ErrUnreachable) || err.Error() != "could not reach the metadata service." || !strings.Contains(hint.Of(err), "systemctl start") {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took < 2*c.pause {
			t.Errorf("%s: gave up after %s", name, took)
		}
		if err := c.Reachable(context.Background()); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if NewClient(files).pause != time.Second {
		t.Error("attempts are not a second apart")
	}
}

// TestLateService: it is started an instant after the pod.
func TestLateService(t *testing.T) {
	data, files := t.TempDir(), mds.Dir(t.TempDir())
	podOnDisk(t, data, uuidA)
	go func() {
		time.Sleep(200 * time.Millisecond)
		l, err := listenUnix(files.Socket())
		if err != nil {
			t.Error(err)
			return
		}
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no\tthanks", http.StatusTeapot) }))
	}()
	_, err := NewClient(files).Register(context.Background(), openPod(t, data, uuidA))
	if want := "PUT /pods/" + string(uuidA) + ` returned 418: no\tthanks`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestOneService(t *testing.T) {
	files := mds.Dir(t.TempDir())
	s := startService(t, files, t.TempDir(), nil)
	err := Serve(context.Background(), Config{Files: files, Getenv: os.Getenv, Port: 18112, Log: func(string) {}})
	if err == nil || !strings.Contains(err.Error(), "error listening on port 18112: another metadata service is running") {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(s.files.Socket()); err != nil {
		t.Errorf("the second took the socket of the first: %v", err)
	}
}
