// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdInternet is "internet DIR": https of example.com and all hosts below it
// serves the directory. There is no other host. rkt gets there by a proxy.
func cmdInternet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: internet DIR")
	}
	site := httptest.NewUnstartedServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	site.Config.ErrorLog = log.New(io.Discard, "", 0)
	site.StartTLS()
	ts.Defer(site.Close)
	proxy := httptest.NewServer(connectTo(site.Listener.Addr().String()))
	ts.Defer(proxy.Close)
	ts.Defer(site.CloseClientConnections)
	roots := ts.MkAbs("roots.pem")
	ts.Check(os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}), 0o644))
	ts.Setenv("SSL_CERT_FILE", roots)
	ts.Setenv("HTTPS_PROXY", proxy.URL)
	ts.Setenv("HTTP_PROXY", proxy.URL)
	ts.Setenv("NO_PROXY", "")
}

// connectTo is a proxy with the method CONNECT alone, which always connects to one address.
func connectTo(address string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodConnect {
			http.Error(w, "nothing is in the clear here", http.StatusForbidden)
			return
		}
		to, err := (&net.Dialer{}).DialContext(req.Context(), "tcp", address)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = to.Close()
			return
		}
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(to, from)
			_ = to.Close()
		}()
		_, _ = io.Copy(from, to)
		_ = from.Close()
	})
}
