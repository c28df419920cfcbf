// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// logged is a response whose status is going to be logged.
type logged struct {
	http.ResponseWriter
	status int
	fixed  bool // status is what is to be logged, whatever is sent
}

func (l *logged) WriteHeader(status int) {
	if !l.fixed && l.status == 0 {
		l.status = status
	}
	l.ResponseWriter.WriteHeader(status)
}

func (l *logged) Write(data []byte) (int, error) {
	if !l.fixed && l.status == 0 {
		l.status = http.StatusOK
	}
	return l.ResponseWriter.Write(data)
}

// Unwrap lets http.MaxBytesReader close the connection of who sends too much.
func (l *logged) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// setLogged decides about the status that is logged.
func setLogged(w http.ResponseWriter, status int) {
	if l, ok := w.(*logged); ok {
		l.status, l.fixed = status, true
	}
}

// logging logs every request: METHOD URI - STATUS.
func logging(h http.Handler, log func(string), uri func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := &logged{ResponseWriter: w}
		h.ServeHTTP(l, r)
		if l.status == 0 && !l.fixed {
			l.status = http.StatusOK
		}
		log(fmt.Sprintf("%s %s - %d", printable(r.Method), printable(uri(r)), l.status))
	})
}

// redacted stands for a token, and for what a request was asked to sign.
const redacted = "..."

// publicURI is a request URI without the token and without form values, which
// are the pod's own business.
func publicURI(r *http.Request) string {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	uri := "/" + redacted
	if _, rest, ok := strings.Cut(path, "/"); ok {
		uri += "/" + rest
	}
	return uri + query(r)
}

// registerURI is a request URI without the token.
func registerURI(r *http.Request) string { return r.URL.EscapedPath() + query(r) }

func query(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return "?" + redacted
}

// printable makes a line of the log out of what somebody sent: no control
// characters, no other line, not endless.
func printable(s string) string {
	const most = 256
	if len(s) > most {
		s = s[:most] + redacted
	}
	q := strconv.QuoteToASCII(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
