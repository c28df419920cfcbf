// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// serveImages serves DIR/NAME.aci as HOST/NAME, for every host, behind the proxy whose URL is returned.
func serveImages(t *testing.T, dir string) (proxy string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.RawQuery == "ac-discovery=1" {
			_, _ = fmt.Fprintf(w, `<meta name="ac-discovery" content="%s https://%s/{name}.{ext}">`, req.Host, req.Host)
			return
		}
		http.ServeFile(w, req, filepath.Join(dir, filepath.Base(req.URL.Path)))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	front := httptest.NewServer(testenv.ConnectTo(server.Listener.Addr().String()))
	t.Cleanup(front.Close)
	return front.URL
}

// makeBase writes DIR/NAME.aci with the given files.
func (l *lab) makeBase(dir, name string, files map[string]string) {
	l.Helper()
	src := l.TempDir()
	for file, content := range files {
		path := filepath.Join(src, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			l.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			l.Fatal(err)
		}
	}
	work := "--work-path=" + l.TempDir()
	l.must(work, "begin", src)
	l.must(work, "set-name", "images.test/"+name)
	l.must(work, "write", filepath.Join(dir, name+".aci"))
	l.must(work, "end")
}

// A command sees the dependencies, later ones on top, and writes to the image.
func TestRunDependencies(t *testing.T) {
	testenv.NeedsOverlay(t)
	l := newLab(t)
	dir := t.TempDir()
	l.makeBase(dir, "one", map[string]string{"etc/one": "1", "etc/both": "from one"})
	l.makeBase(dir, "two", map[string]string{"etc/two": "2", "etc/both": "from two"})
	t.Setenv("HTTPS_PROXY", serveImages(t, dir))
	l.must("set-name", "images.test/app")
	l.must("dep", "add", "images.test/one")
	l.must("dep", "add", "images.test/two")
	before := l.tree()

	flags := []string{"run", "--engine=chroot", "--insecure", "--insecure-options=image", "--"}
	out := l.must(append(flags, "sh", "-c", "cat /etc/one /etc/two /etc/both; ls /dev/null")...)
	if out != "12from two/dev/null\n" {
		t.Errorf("%q", out)
	}
	l.sameTree(before)

	l.must(append(flags, "sh", "-c", "rm /etc/one; echo new >/etc/both")...)
	if data, err := os.ReadFile(l.rootfs("etc/both")); err != nil || string(data) != "new\n" {
		t.Errorf("%q, %v", data, err)
	}
	if status, _, errs := l.run(append(flags, "ls", "/etc/one")...); status == 0 {
		t.Errorf("what was removed is there again: %s", errs)
	}
	status, _, errs := l.run("write", "app.aci")
	if status != 0 || !strings.Contains(errs, `warning: "/etc/one" was removed by run but is in a dependency`) {
		t.Errorf("status %d: %s", status, errs)
	}

	// What is asked of a dependency is checked.
	l.must("dep", "add", "images.test/two", "--image-id=sha512-"+strings.Repeat("0", 128))
	if status, _, errs := l.run(append(flags, "ls")...); status != 1 || !strings.Contains(errs, "dependency images.test/two doesn't match hash") {
		t.Errorf("status %d: %s", status, errs)
	}
	l.must("dep", "add", "images.test/two", "--size=1")
	if status, _, errs := l.run(append(flags, "ls")...); status != 1 || !strings.Contains(errs, "bytes, not 1") {
		t.Errorf("status %d: %s", status, errs)
	}
	l.must("dep", "rm", "images.test/two")
	l.must("dep", "add", "images.test/none")
	if status, _, errs := l.run(append(flags, "ls")...); status != 1 || !strings.Contains(errs, `dependency "images.test/none" doesn't appear to exist`) {
		t.Errorf("status %d: %s", status, errs)
	}
	l.must("end")

	// begin by name, with and without a signature that is asked for.
	if status, _, errs := l.run("begin", "--insecure", "images.test/one"); status != 1 || strings.Contains(errs, "unknown host") {
		t.Errorf("status %d: %s", status, errs)
	}
	l.must("begin", "--insecure", "--insecure-options=image", "images.test/one")
	if data, err := os.ReadFile(l.rootfs("etc/one")); err != nil || string(data) != "1" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := os.Stat(filepath.Join(l.dir, ".acbuild/depstore")); err == nil {
		t.Error("the store of begin was left")
	}
}

// squash puts the dependencies into the image, without what a command has
// removed; with --store the images are rkt's.
func TestSquash(t *testing.T) {
	testenv.NeedsOverlay(t)
	l := newLab(t)
	dir, store := t.TempDir(), t.TempDir()
	l.makeBase(dir, "one", map[string]string{"etc/one": "1", "etc/both": "from one", "etc/gone": "x"})
	t.Setenv("HTTPS_PROXY", serveImages(t, dir))
	l.must("set-name", "images.test/app")
	flags := []string{"--insecure", "--insecure-options=image", "--store=" + store}
	if status, _, errs := l.run(append([]string{"squash"}, flags...)...); status != 1 || errs != "squash: the image has no dependencies\n" {
		t.Errorf("%d %s", status, errs)
	}
	l.must("dep", "add", "images.test/one")
	l.must(append(append([]string{"run", "--engine=chroot"}, flags...), "--", "sh", "-c", "rm /etc/gone; echo new >/etc/both")...)
	if _, err := os.Stat(filepath.Join(l.dir, ".acbuild/depstore")); err == nil {
		t.Error("the build has a store of its own")
	}
	// The image is in the store by now.
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	l.must(append([]string{"squash"}, flags...)...)
	for name, want := range map[string]string{"etc/one": "1", "etc/both": "new\n"} {
		if data, err := os.ReadFile(l.rootfs(name)); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if _, err := os.Lstat(l.rootfs("etc/gone")); err == nil {
		t.Error("what was removed is there again")
	}
	if out := l.must("cat-manifest"); strings.Contains(out, "dependencies") || !strings.Contains(out, "acbuild squash") {
		t.Error(out)
	}
	status, _, errs := l.run("write", "app.aci")
	if status != 0 || strings.Contains(errs, "was removed by run") {
		t.Errorf("status %d: %s", status, errs)
	}
	l.sameTree(l.tree())
	if status, _, errs := l.run("run", "--store=/nonexistent/store", "--engine=chroot", "ls"); status != 0 {
		t.Errorf("a store is opened for an image without dependencies: %s", errs)
	}
	l.must("dep", "add", "images.test/one")
	if status, _, errs := l.run("run", "--store=/nonexistent/store", "--engine=chroot", "ls"); status != 1 || !strings.Contains(errs, "is no data directory of rkt") {
		t.Errorf("status %d: %s", status, errs)
	}
}
