// SPDX-License-Identifier: Apache-2.0

package metadata

import "strings"

// apiRoot is what the paths below a token begin with.
const apiRoot = "acMetadata/v1/"

// route is one kind of public request.
type route int

const (
	noRoute route = iota
	podAnnotations
	podAnnotation
	podManifest
	podUUID
	podSign
	podVerify
	appAnnotations
	appAnnotation
	appImageManifest
	appImageID
)

// target is what a public path asks for. App and name are as they came.
type target struct {
	route     route
	token     string
	app, name string
}

// parsePath takes a decoded path of the public interface apart.
func parsePath(path string) target {
	token, rest, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok || token == "" || !strings.HasPrefix(path, "/") {
		return target{}
	}
	rest, ok = strings.CutPrefix(rest, apiRoot)
	if !ok {
		return target{}
	}
	t := target{token: token}
	if name, ok := strings.CutPrefix(rest, "pod/annotations/"); ok {
		t.route, t.name = podAnnotation, name
		return t
	}
	if app, ok := strings.CutPrefix(rest, "apps/"); ok {
		t.parseApp(app)
		return t
	}
	t.route = map[string]route{
		"pod/annotations": podAnnotations, "pod/manifest": podManifest, "pod/uuid": podUUID,
		"pod/hmac/sign": podSign, "pod/hmac/verify": podVerify,
	}[rest]
	return t
}

// parseApp finds the app in a path below apps. The name of an app has no slash,
// that of an annotation may have many; so the first that fits counts, and what
// has a slash nevertheless is for the caller to refuse.
func (t *target) parseApp(path string) {
	if app, name, ok := strings.Cut(path, "/annotations/"); ok {
		t.route, t.app, t.name = appAnnotation, app, name
		return
	}
	for suffix, r := range map[string]route{
		"/annotations": appAnnotations, "/image/manifest": appImageManifest, "/image/id": appImageID,
	} {
		if app, ok := strings.CutSuffix(path, suffix); ok {
			t.route, t.app = r, app
			return
		}
	}
}

// method is the only one that a route has.
func (r route) method() string {
	if r == podSign || r == podVerify {
		return "POST"
	}
	return "GET"
}
