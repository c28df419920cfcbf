// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/tests/ace/expect"
)

const (
	textType = "text/plain; charset=us-ascii"
	jsonType = "application/json"
)

// answer is what the metadata service sent.
type answer struct {
	status     int
	kind, body string
}

// request asks the metadata service as the specification tells apps to.
func request(method, path string, form url.Values) (answer, error) {
	base, ok := os.LookupEnv("AC_METADATA_URL")
	if !ok {
		return answer{}, errors.New("AC_METADATA_URL is not set")
	}
	q, err := http.NewRequest(method, base+"/acMetadata/v1"+path, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	q.Header.Set("Metadata-Flavor", "AppContainer")
	if form != nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(q)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), string(body)}, err
}

func ok(kind, body string) answer { return answer{http.StatusOK, kind, body} }

// says is a check of one answer.
func says(path string, want answer) func() error {
	return func() error {
		got, err := request(http.MethodGet, path, nil)
		return first(err, same(got, want))
	}
}

// fails is a check of the status alone.
func fails(status int, method, path string, form url.Values) func() error {
	return func() error {
		got, err := request(method, path, form)
		return first(err, same(got.status, status))
	}
}

// document reads a JSON document.
func document(path string, v any) error {
	got, err := request(http.MethodGet, path, nil)
	if err := first(err, same(got.status, http.StatusOK), same(got.kind, jsonType)); err != nil {
		return err
	}
	return json.Unmarshal([]byte(got.body), v)
}

type podDocument struct {
	ACKind string `json:"acKind"`
	Apps   []struct {
		Name  string `json:"name"`
		Image struct {
			ID string `json:"id"`
		} `json:"image"`
		App *struct {
			Exec []string `json:"exec"`
		} `json:"app"`
	} `json:"apps"`
}

func uuidOfPod() (string, error) {
	got, err := request(http.MethodGet, "/pod/uuid", nil)
	return got.body, first(err, same(got.status, http.StatusOK), same(got.kind, textType))
}

func sign(content string) (string, error) {
	got, err := request(http.MethodPost, "/pod/hmac/sign", url.Values{"content": {content}})
	return got.body, first(err, same(got.status, http.StatusOK), same(got.kind, textType))
}

// verifies is a check of a signature of this pod, changed by spoil.
func verifies(status int, spoil func(form url.Values)) func() error {
	return func() error {
		const content = "a=b&c\nd ünïcödé"
		uuid, err := uuidOfPod()
		if err != nil {
			return err
		}
		signature, err := sign(content)
		if err != nil {
			return err
		}
		form := url.Values{"uuid": {uuid}, "content": {content}, "signature": {signature}}
		spoil(form)
		return fails(status, http.MethodPost, "/pod/hmac/verify", form)()
	}
}

// metadataChecks are those of the metadata service (spec/ace.md, "App Container
// Metadata Service").
func metadataChecks() []check {
	app := "/apps/" + expect.Isolated
	return []check{
		{"url", func() error {
			u, err := url.Parse(os.Getenv("AC_METADATA_URL"))
			if err != nil || u.Scheme != "http" || u.Host == "" || len(u.Path) < 2 {
				return fmt.Errorf("AC_METADATA_URL %q: %w", u, err)
			}
			return nil
		}},
		{"pod.uuid", func() error {
			uuid, err := uuidOfPod()
			if err == nil && !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(uuid) {
				err = fmt.Errorf("%q", uuid)
			}
			return err
		}},
		{"pod.annotations", says("/pod/annotations", ok(jsonType, `[{"name":"example.com/of/pod","value":"pod ☃"}]`))},
		{"pod.annotation", says("/pod/annotations/example.com/of/pod", ok(textType, "pod ☃"))},
		{"pod.annotation-unknown", fails(http.StatusNotFound, http.MethodGet, "/pod/annotations/unknown", nil)},
		{"pod.annotation-malformed", fails(http.StatusBadRequest, http.MethodGet, "/pod/annotations/NO", nil)},
		{"pod.manifest-is-reified", func() error {
			var m podDocument
			if err := document("/pod/manifest", &m); err != nil {
				return err
			}
			if m.ACKind != "PodManifest" || len(m.Apps) != 1 || m.Apps[0].Name != expect.Isolated || m.Apps[0].App == nil || len(m.Apps[0].App.Exec) == 0 {
				return fmt.Errorf("%+v", m)
			}
			return nil
		}},
		{"app.annotations", says(app+"/annotations", ok(jsonType, `[{"name":"both","value":"pod"},{"name":"of-image","value":"image"},{"name":"added","value":"pod"}]`))},
		{"app.annotation-of-image", says(app+"/annotations/of-image", ok(textType, "image"))},
		{"app.annotation-overridden", says(app+"/annotations/both", ok(textType, "pod"))},
		{"app.annotation-unknown", fails(http.StatusNotFound, http.MethodGet, app+"/annotations/unknown", nil)},
		{"app.unknown", fails(http.StatusNotFound, http.MethodGet, "/apps/unknown/image/id", nil)},
		{"app.image-id", func() error {
			var m podDocument
			got, err := request(http.MethodGet, app+"/image/id", nil)
			if err := first(err, document("/pod/manifest", &m)); err != nil {
				return err
			}
			return same(got, ok(textType, m.Apps[0].Image.ID))
		}},
		{"app.image-manifest", func() error {
			var m struct{ ACKind, Name string }
			return first(document(app+"/image/manifest", &m), same(m.ACKind, "ImageManifest"), same(m.Name, "example.com/ace-annotated"))
		}},
		{"hmac.sign", func() error {
			signature, err := sign("content")
			raw, wrong := base64.StdEncoding.DecodeString(signature)
			return first(err, wrong, same(len(raw), 64))
		}},
		{"hmac.sign-without-content", fails(http.StatusBadRequest, http.MethodPost, "/pod/hmac/sign", url.Values{})},
		{"hmac.sign-by-get", fails(http.StatusMethodNotAllowed, http.MethodGet, "/pod/hmac/sign", nil)},
		{"hmac.verify", verifies(http.StatusOK, func(url.Values) {})},
		{"hmac.verify-other-content", verifies(http.StatusForbidden, func(f url.Values) { f.Set("content", "other") })},
		{"hmac.verify-other-pod", verifies(http.StatusForbidden, func(f url.Values) { f.Set("uuid", "11111111-2222-4333-8444-555555555555") })},
		{"hmac.verify-other-signature", verifies(http.StatusForbidden, func(f url.Values) { f.Set("signature", base64.StdEncoding.EncodeToString(make([]byte, 64))) })},
		{"hmac.verify-without-signature", verifies(http.StatusBadRequest, func(f url.Values) { f.Del("signature") })},
		{"no-route", fails(http.StatusNotFound, http.MethodGet, "/pod/secrets", nil)},
	}
}
