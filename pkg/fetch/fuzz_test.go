// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"archive/tar"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// memTar is an archive in memory, by a path that can be opened.
func memTar(t testing.TB, files map[string][]byte) string {
	t.Helper()
	fd, err := unix.MemfdCreate("archive", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "archive")
	t.Cleanup(func() { _ = f.Close() })
	w := tar.NewWriter(f)
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd)
}

// FuzzDockerArchive: whatever the documents of an archive say, there is an error or
// a manifest that has the digest it is said to have.
func FuzzDockerArchive(f *testing.F) {
	config := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]}}`)
	f.Add("manifest.json", []byte(`[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l/layer.tar"]}]`), config, "")
	f.Add("manifest.json", []byte(`[{"Config":"../c.json","Layers":["/etc/passwd"]},{}]`), config, "@0")
	f.Add("index.json", []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:00","size":-1}]}`), config, "a:1")
	f.Add("repositories", []byte(`{"a":{"1":"l"}}`), []byte(`{"id":"l","parent":"l"}`), "a:1")
	f.Fuzz(func(t *testing.T, form string, document, config []byte, ref string) {
		switch form {
		case "manifest.json", "index.json", "repositories":
		default:
			return
		}
		path := memTar(t, map[string][]byte{
			form: document, "c.json": config, "l/json": config, "l/layer.tar": document,
			"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`),
		})
		tree, err := openTar(t.Context(), path, os.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer tree.close()
		r, err := (&Fetcher{Store: newFakeStore(t)}).newRun(ImageOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		i, err := (&dockerArchive{run: r, tree: tree, path: "a.tar", ref: ref}).find(t.Context())
		if err != nil {
			return
		}
		if err := checkDigest(i.manifest.digest, i.manifest.data); err != nil {
			t.Error(err)
		}
	})
}

// wire answers everything with one header, and remembers where secrets went.
type wire struct {
	header string
	seen   []*http.Request
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.seen = append(w.seen, req)
	resp := &http.Response{
		StatusCode: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {w.header}},
		Body: io.NopCloser(strings.NewReader("{}")), Request: req,
	}
	if !strings.HasPrefix(req.URL.Path, "/v2") {
		resp.StatusCode, resp.Body = http.StatusOK, io.NopCloser(strings.NewReader(`{"token":"t"}`))
	}
	return resp, nil
}

// FuzzChallenge: whatever a registry asks for in WWW-Authenticate, a password leaves
// only over https, and never for a host of which nobody spoke.
func FuzzChallenge(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="https://token.example.com/t",service="s",scope="repository:a:pull"`, `Basic realm="x"`, `bearer realm=https://h/`,
		`Bearer realm="http://token.example.com/t"`, `Bearer realm="https://169.254.169.254/"`, `Bearer realm="https://u:p@h/t?x=1"`,
		`Bearer realm="file:///etc/passwd"`, `Bearer`, `Bearer realm=",`, `Basic, Bearer realm="https://h"`, "",
	} {
		f.Add(s)
	}
	reg, err := name.NewRegistry("registry.example.com")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		w := &wire{header: header}
		challenge, err := transport.Ping(t.Context(), reg, w)
		if err != nil {
			return
		}
		w.seen = nil
		r := &run{Fetcher: &Fetcher{}}
		g := &registryConn{run: r, host: reg.RegistryStr(), repo: "a/b", scheme: "https", actions: actionsPull}
		never := func(string) bool { return false }
		a := &authTransport{
			inner: &guard{inner: w, allowHTTP: never}, g: g, challenge: challenge,
			config: authn.AuthConfig{Username: "u", Password: "secret"},
		}
		_ = a.refresh(t.Context(), "")
		for _, req := range w.seen {
			if req.URL.Scheme != "https" {
				t.Errorf("%q: asked %s", header, req.URL)
			}
			if req.URL.Host != reg.RegistryStr() && !isNamed(header, req.URL.Hostname()) {
				t.Errorf("%q: asked %s", header, req.URL)
			}
		}
	})
}

// isNamed tells whether the text names the host, perhaps with percent-encoded
// bytes (RFC 3986 3.2.2) and quoted ones (RFC 9110 5.6.4).
func isNamed(text, host string) bool {
	text = strings.ReplaceAll(text, `\`, "")
	decoded := percent.ReplaceAllStringFunc(text, func(s string) string {
		b, err := hex.DecodeString(s[1:])
		if err != nil {
			return s
		}
		return string(b)
	})
	host = strings.ToLower(host)
	return strings.Contains(strings.ToLower(text), host) || strings.Contains(strings.ToLower(decoded), host)
}

var percent = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// FuzzResume: headers decide whether a partial download goes on. It never does
// for another version, or at another place.
func FuzzResume(f *testing.F) {
	f.Add(200, "bytes", `"1"`, `"1"`, "Mon, 02 Jan 2006 15:04:05 GMT", "bytes 10-19/20", int64(20), int64(10), "max-age=1", "5")
	f.Add(206, "none", `W/"1"`, `W/"1"`, "x", "bytes 0-/*", int64(-1), int64(3), "no-cache, max-age=9", "Mon, 02 Jan 2006 15:04:05 GMT")
	f.Add(416, "bytes", "", "", "", "bytes */0", int64(0), int64(0), "max-age=99999999999999", "-1")
	f.Fuzz(func(t *testing.T, status int, accept, saved, etag, modified, contentRange string, length, offset int64, cache, after string) {
		h := http.Header{"Accept-Ranges": {accept}, "Etag": {etag}, "Last-Modified": {modified}, "Content-Range": {contentRange}, "Cache-Control": {cache}}
		if age := maxAge(h); age < 0 {
			t.Errorf("max-age %s of %q", age, cache)
		}
		if wait, ok := parseRetryAfter(after, time.Now()); ok && wait < 0 {
			t.Errorf("wait %s for %q", wait, after)
		}
		const size = 1 << 20
		if offset < 0 || offset > size {
			return
		}
		checkPartial(t, h, status, saved, etag, modified, length, offset)
		b := &blobReader{d: ociconv.Descriptor{Digest: "sha256:x", Size: size}, offset: offset}
		req, err := http.NewRequest(http.MethodGet, "https://h/", nil)
		if err != nil {
			t.Fatal(err)
		}
		skip, err := b.check(&http.Response{StatusCode: status, Header: h, ContentLength: length, Body: http.NoBody, Request: req})
		if err != nil {
			return
		}
		if skip != 0 && skip != offset || length >= 0 && offset-skip+length != size {
			t.Errorf("status %d, length %d: skips %d of %d", status, length, skip, offset)
		}
		if status == http.StatusPartialContent && !startsAt(h, offset) {
			t.Errorf("range %q is taken for one from %d", contentRange, offset)
		}
	})
}

func checkPartial(t *testing.T, h http.Header, status int, saved, etag, modified string, length, offset int64) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "p"))
	if err != nil {
		t.Fatal(err)
	}
	p := &partial{path: file.Name(), f: file, size: offset}
	defer file.Close()
	if err := p.begin(saved); err != nil {
		t.Fatal(err)
	}
	if offset > 0 {
		if err := os.WriteFile(p.path+etagSuffix, []byte(saved), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := &download{part: p}
	why := d.cannotResume(&http.Response{StatusCode: status, Header: h, ContentLength: length})
	if why != "" {
		return
	}
	if saved != "" && etag != "" && saved != etag {
		t.Errorf("goes on with %q where it had %q", etag, saved)
	}
	if saved == "" && modified == "" {
		t.Error("goes on though nothing says that it is the same file")
	}
	if length >= 0 && length < offset {
		t.Errorf("goes on at %d of %d", offset, length)
	}
}
