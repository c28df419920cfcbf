// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rkt/rkt/v2/pkg/testenv"
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
	proxy := httptest.NewServer(testenv.ConnectTo(site.Listener.Addr().String()))
	ts.Defer(proxy.Close)
	ts.Defer(site.CloseClientConnections)
	roots := ts.MkAbs("roots.pem")
	ts.Check(os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}), 0o644))
	ts.Setenv("SSL_CERT_FILE", roots)
	ts.Setenv("HTTPS_PROXY", proxy.URL)
	ts.Setenv("HTTP_PROXY", proxy.URL)
	ts.Setenv("NO_PROXY", "")
}
