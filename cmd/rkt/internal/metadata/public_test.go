// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/mds"
)

const formType = "application/x-www-form-urlencoded"

// TestEveryEndpoint is the table of spec services.md 1.3.
func TestEveryEndpoint(t *testing.T) {
	data := t.TempDir()
	podOnDisk(t, data, uuidA)
	s := startService(t, mds.Dir(t.TempDir()), data, nil)
	token := s.register(t, uuidA)
	base := s.url(t, "/"+token+"/acMetadata/v1")
	const textType = "text/plain; charset=us-ascii"
	for _, tt := range []struct {
		method, path string
		want         reply
	}{
		{"GET", "/pod/annotations", reply{200, "application/json", `[{"name":"example.com/a/b","value":"v äöü"}]`}},
		{"GET", "/pod/annotations/example.com/a/b", reply{200, textType, "v äöü"}},
		{"GET", "/pod/annotations/example.com%2Fa%2Fb", reply{200, textType, "v äöü"}},
		{"GET", "/pod/uuid", reply{200, textType, string(uuidA)}},
		{"GET", "/apps/web/annotations", reply{200, "application/json", `[{"name":"of-image","value":"image"},{"name":"both","value":"pod"},{"name":"added","value":"of the pod"}]`}},
		{"GET", "/apps/web/annotations/both", reply{200, textType, "pod"}},
		{"GET", "/apps/web/annotations/of-image", reply{200, textType, "image"}},
		{"GET", "/apps/web/image/manifest", reply{200, "application/json", imageManifest}},
		{"GET", "/apps/web/image/id", reply{200, textType, imageID}},

		{"GET", "/pod/annotations/none", reply{404, "", `Pod annotation "none" not found`}},
		{"GET", "/apps/web/annotations/none", reply{404, "", `App annotation "none" not found`}},
		{"GET", "/apps/web/annotations/example.com/annotations/x", reply{404, "", `App annotation "example.com/annotations/x" not found`}},
		{"GET", "/apps/other/annotations", reply{404, "", "app not found"}},
		{"GET", "/apps/other/image/id", reply{404, "", "app not found"}},
		{"GET", "/pod/annotations/UPPER", reply{400, "", ""}},
		{"GET", "/pod/annotations/", reply{400, "", ""}},
		{"GET", "/pod/annotations/..%2f..%2fetc%2fpasswd", reply{400, "", ""}},
		{"GET", "/apps/a/b/annotations", reply{400, "", ""}},
		{"GET", "/apps/..%2f..%2f..%2fpod/image/manifest", reply{400, "", ""}},
		{"GET", "/apps/UPPER/image/id", reply{400, "", ""}},
		{"GET", "/pod", reply{404, "", ""}},
		{"GET", "/pod/hmac", reply{404, "", ""}},
		{"GET", "/apps/web", reply{404, "", ""}},
		{"GET", "/apps/web/image/rootfs", reply{404, "", ""}},
		{"POST", "/pod/uuid", reply{405, "", ""}},
		{"HEAD", "/pod/uuid", reply{405, "", ""}},
		{"PUT", "/apps/web/annotations", reply{405, "", ""}},
		{"DELETE", "/pod/manifest", reply{405, "", ""}},
		{"GET", "/pod/hmac/sign", reply{405, "", ""}},
		{"GET", "/pod/hmac/verify", reply{405, "", ""}},
	} {
		got := do(t, http.DefaultClient, tt.method, base+tt.path, "", "")
		good := got.status == tt.want.status && (tt.want.kind == "" || got.kind == tt.want.kind)
		if tt.want.status == 200 {
			good = good && got.body == tt.want.body
		} else {
			good = good && strings.Contains(got.body, tt.want.body)
		}
		if !good {
			t.Errorf("%s %s: %+v, want %+v", tt.method, tt.path, got, tt.want)
		}
	}
	manifest := get(t, base+"/pod/manifest")
	m, err := appc.ParsePodManifest([]byte(manifest.body))
	if err != nil || manifest.kind != "application/json" || m.Apps[0].App == nil || m.Apps[0].App.Exec[0] != "/bin/web" {
		t.Errorf("the manifest is not reified: %+v, %v", manifest, err)
	}
	for _, url := range []string{"/" + strings.Repeat("0", 32) + "/acMetadata/v1/pod/uuid", "/" + token[:31] + "/acMetadata/v1/pod/uuid", "/x/acMetadata/v1/pod/hmac/verify"} {
		method := http.MethodGet
		if strings.HasSuffix(url, "verify") {
			method = http.MethodPost
		}
		if got := do(t, http.DefaultClient, method, s.url(t, url), "", ""); got.status != 401 || got.body != "pod not found\n" {
			t.Errorf("%s: %+v", url, got)
		}
	}
	log := s.logged()
	for _, want := range []string{"GET /.../acMetadata/v1/pod/uuid - 200", "GET /.../acMetadata/v1/pod/uuid - 401", "GET /.../acMetadata/v1/pod - 0", "PUT /pods/" + string(uuidA) + "?... - 200", "PUT /pods/" + string(uuidA) + "/web - 200"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	if strings.Contains(log, token) || strings.Contains(log, token[:31]) {
		t.Errorf("a token is in the log:\n%s", log)
	}
}

// TestHMAC: what A signs verifies for B, also after a restart, and is what the
// specification says.
func TestHMAC(t *testing.T) {
	data, files := t.TempDir(), mds.Dir(t.TempDir())
	podOnDisk(t, data, uuidA)
	podOnDisk(t, data, uuidB)
	s := startService(t, files, data, nil)
	a, b := s.register(t, uuidA), s.register(t, uuidB)
	const content = "a=b&c d\n\x00ä"
	post := func(token, what, kind, body string) reply {
		t.Helper()
		return do(t, http.DefaultClient, http.MethodPost, s.url(t, "/"+token+"/acMetadata/v1/pod/hmac/"+what), kind, body)
	}
	signed := post(a, "sign", formType, url.Values{"content": {content}}.Encode())
	key, err := os.ReadFile(files.Key())
	if err != nil || len(key) != keySize {
		t.Fatalf("%d, %v", len(key), err)
	}
	raw, _ := hex.DecodeString(strings.ReplaceAll(string(uuidA), "-", ""))
	mac := hmac.New(sha512.New, key)
	mac.Write(append(raw, content...))
	if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); signed != (reply{200, "text/plain; charset=us-ascii", want}) {
		t.Fatalf("%+v, want %s", signed, want)
	}
	if got := post(a, "sign?"+url.Values{"content": {content}}.Encode(), "", ""); got != signed {
		t.Errorf("by query: %+v", got)
	}
	var multi bytes.Buffer
	w := multipart.NewWriter(&multi)
	_ = w.WriteField("content", content)
	_ = w.Close()
	if got := post(a, "sign", w.FormDataContentType(), multi.String()); got != signed {
		t.Errorf("multipart: %+v", got)
	}

	s.end(t)
	s = startService(t, files, data, nil)
	form := func(uuid, content, signature string) string {
		return url.Values{"uuid": {uuid}, "content": {content}, "signature": {signature}}.Encode()
	}
	for name, tt := range map[string]struct {
		token, body string
		want        reply
	}{
		"good":              {b, form(string(uuidA), content, signed.body), reply{200, "text/plain; charset=us-ascii", ""}},
		"own":               {a, form(string(uuidA), content, signed.body), reply{200, "text/plain; charset=us-ascii", ""}},
		"of another pod":    {b, form(string(uuidB), content, signed.body), reply{status: 403}},
		"other content":     {b, form(string(uuidA), content+"x", signed.body), reply{status: 403}},
		"short":             {b, form(string(uuidA), content, "AAAA"), reply{status: 403}},
		"no uuid":           {b, form("", content, signed.body), reply{400, "", "uuid field missing or malformed: "}},
		"bad uuid":          {b, form("1-2", content, signed.body), reply{400, "", "uuid field missing or malformed: "}},
		"no content":        {b, form(string(uuidA), "", signed.body), reply{400, "", "content field missing"}},
		"no signature":      {b, form(string(uuidA), content, ""), reply{400, "", "signature field missing or corrupt: "}},
		"corrupt signature": {b, form(string(uuidA), content, "%%"), reply{400, "", "signature field missing or corrupt: "}},
		"unknown token":     {strings.Repeat("9", 32), form(string(uuidA), content, signed.body), reply{401, "", "pod not found"}},
		"bad form":          {b, "%zz", reply{400, "", "form: "}},
		"too large":         {b, form(string(uuidA), strings.Repeat("x", maxForm), signed.body), reply{413, "", "form of more than"}},
	} {
		got := post(tt.token, "verify", formType, tt.body)
		if got.status != tt.want.status || tt.want.kind != "" && got.kind != tt.want.kind || !strings.HasPrefix(got.body, tt.want.body) || got.status == 200 && got.body != "" {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
	if got := post(a, "sign", formType, ""); got.status != 400 || got.body != "content form value not found\n" {
		t.Errorf("nothing to sign: %+v", got)
	}
	if strings.Contains(s.logged(), signed.body[:20]) || strings.Contains(s.logged(), a) {
		t.Errorf("secrets in the log:\n%s", s.logged())
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/t/acMetadata/v1/apps/a/annotations/b/annotations/c", "/t/acMetadata/v1/pod/uuid", "//acMetadata/v1/pod/uuid", "/t/acMetadata/v1/apps//image/id"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := parsePath(s)
		if p.route == noRoute {
			return
		}
		if p.token == "" || strings.Contains(p.token, "/") || !strings.HasPrefix(s, "/"+p.token+"/"+apiRoot) {
			t.Errorf("%q: %+v", s, p)
		}
		rest := map[route]string{
			podAnnotations: "pod/annotations", podAnnotation: "pod/annotations/" + p.name, podManifest: "pod/manifest", podUUID: "pod/uuid",
			podSign: "pod/hmac/sign", podVerify: "pod/hmac/verify", appAnnotations: "apps/" + p.app + "/annotations",
			appAnnotation: "apps/" + p.app + "/annotations/" + p.name, appImageManifest: "apps/" + p.app + "/image/manifest", appImageID: "apps/" + p.app + "/image/id",
		}[p.route]
		if s != "/"+p.token+"/"+apiRoot+rest {
			t.Errorf("%q is not what %+v says", s, p)
		}
	})
}

// FuzzRequest: whatever a pod sends, it gets an answer and nothing of it reaches
// the log but as one line without its token.
func FuzzRequest(f *testing.F) {
	const token = "0123456789abcdef0123456789abcdef"
	m, err := appc.ParsePodManifest([]byte(podJSON))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("pod/hmac/sign", "content=x", formType)
	f.Add("pod/hmac/verify?uuid=1", "--b\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b")
	f.Add("apps/web/annotations/%0a", "", "")
	f.Fuzz(func(t *testing.T, path, body, kind string) {
		pods := newRegistry()
		if err := pods.put(&registration{uuid: uuidA, token: token, manifest: m, images: map[appc.Name]image{}}); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse("http://h/" + token + "/acMetadata/v1/" + path)
		if err != nil {
			return
		}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			var lines []string
			q, err := http.NewRequest(method, u.String(), strings.NewReader(body))
			if err != nil {
				return
			}
			q.Header.Set("Content-Type", kind)
			q.RemoteAddr = "127.0.0.1:1"
			w := httptest.NewRecorder()
			logging(&public{pods, &signer{}, func(string) {}}, func(l string) { lines = append(lines, l) }, publicURI).ServeHTTP(w, q)
			if w.Code >= 500 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if len(lines) != 1 || strings.ContainsAny(lines[0], "\n\r\x1b") || strings.HasPrefix(lines[0], method+" /"+token) {
				t.Errorf("logged %q", lines)
			}
		}
	})
}
