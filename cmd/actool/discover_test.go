// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveDiscovery gives each script a web server of its own: $TLS_PORT and
// $PLAIN_PORT of localhost serve the page for localhost/a, $TLS_PORT also one
// without keys for localhost/b.
func serveDiscovery(env *testscript.Env) error {
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		page, ok := map[string]string{
			"/a": `<meta name="ac-discovery" content="localhost/a https://h/{os}/{arch}/{name}-{version}.{ext}?a=1&b=2">
<meta name="ac-discovery" content="localhost/a http://i/{name}.{ext}">
<meta name="ac-discovery-pubkeys" content="localhost https://h/one.gpg">
<meta name="ac-discovery-pubkeys" content="localhost https://h/two.gpg">`,
			"/b": `<meta name="ac-discovery" content="localhost/b https://h/{name}.{ext}">`,
		}[req.URL.Path]
		if !ok || req.URL.RawQuery != "ac-discovery=1" {
			http.NotFound(w, req)
			return
		}
		_, _ = io.WriteString(w, page)
	})
	tls, plain := httptest.NewUnstartedServer(handler), httptest.NewServer(handler)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	env.Defer(tls.Close)
	env.Defer(plain.Close)
	for name, s := range map[string]*httptest.Server{"TLS_PORT": tls, "PLAIN_PORT": plain} {
		env.Setenv(name, s.URL[strings.LastIndexByte(s.URL, ':')+1:])
	}
	return nil
}
