// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveDiscovery gives each script a web server of its own: $TLS_PORT and
// $PLAIN_PORT of localhost serve the page for localhost/a, $TLS_PORT also one
// without keys for localhost/b. Behind the proxy $PROXY is the same server for
// every host, with the page for HOST/c.
func serveDiscovery(env *testscript.Env) error {
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		page, ok := map[string]string{
			"/a": `<meta name="ac-discovery" content="localhost/a https://h/{os}/{arch}/{name}-{version}.{ext}?a=1&b=2">
<meta name="ac-discovery" content="localhost/a http://i/{name}.{ext}">
<meta name="ac-discovery-pubkeys" content="localhost https://h/one.gpg">
<meta name="ac-discovery-pubkeys" content="localhost https://h/two.gpg">`,
			"/c": `<meta name="ac-discovery" content="` + req.Host + ` https://h/{name}.{ext}">`,
			"/b": `<meta name="ac-discovery" content="localhost/b https://h/{name}.{ext}">`,
		}[req.URL.Path]
		if !ok || req.URL.RawQuery != "ac-discovery=1" {
			http.NotFound(w, req)
			return
		}
		_, _ = io.WriteString(w, page)
	})
	var tls *httptest.Server
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { connect(w, req, tls.Listener.Addr().String()) }))
	env.Defer(proxy.Close)
	env.Setenv("PROXY", proxy.URL)
	tls = httptest.NewUnstartedServer(handler)
	plain := httptest.NewServer(handler)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	env.Defer(tls.Close)
	env.Defer(plain.Close)
	for name, s := range map[string]*httptest.Server{"TLS_PORT": tls, "PLAIN_PORT": plain} {
		env.Setenv(name, s.URL[strings.LastIndexByte(s.URL, ':')+1:])
	}
	return nil
}

// connect joins the client of a proxy with the server at an address.
func connect(w http.ResponseWriter, req *http.Request, address string) {
	if req.Method != http.MethodConnect {
		http.Error(w, "only https", http.StatusNotImplemented)
		return
	}
	server, err := (&net.Dialer{}).DialContext(req.Context(), "tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(server, client) }()
	_, _ = io.Copy(client, server)
}
