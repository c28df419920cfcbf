// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

var errRedirects = errors.New("too many redirects")

// newTransport is the bottom of every connection of this package. Bodies are
// never decompressed on the way: they are compressed archives, and sizes and ranges count them as they are.
func (r *run) newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		TLSClientConfig:       &tls.Config{InsecureSkipVerify: r.Insecure.TLS, MinVersion: tls.VersionTLS12},
		DisableCompression:    true,
		ForceAttemptHTTP2:     true,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       30 * time.Second,
		ReadBufferSize:        copyBuffer,
		// Without a bound, HTTP/2 buffers megabytes for each parallel layer.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 4 << 20},
	}
}

// watched is a transport with a limit for servers that stall.
func (r *run) watched(inner http.RoundTripper) http.RoundTripper {
	return &watch{inner: inner, limit: r.Stall}
}

// headers sets what goes with each request, redirected ones included.
type headers struct {
	inner     http.RoundTripper
	userAgent string
}

func (h *headers) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", h.userAgent)
	req.Header.Set("Accept-Encoding", "identity")
	return h.inner.RoundTrip(req)
}

// checkRedirect keeps credentials from leaving the host they belong to.
// net/http would send them to sub-domains and other ports as well.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return errRedirects
	}
	if req.URL.Scheme != "https" || !sameHost(req.URL, via[0].URL) {
		req.Header.Del("Authorization")
	}
	// A signature of one request is void for another.
	if via[0].Header.Get(awsDateHeader) != "" {
		req.Header.Del("Authorization")
		req.Header.Del(awsDateHeader)
		req.Header.Del(awsContentHeader)
	}
	return nil
}

func sameHost(a, b *url.URL) bool { return hostPort(a) == hostPort(b) }

// hostPort is the address of a URL with the port filled in.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// isLoopback tells whether a host, with or without port, is this machine by
// its spelling; names are not looked up.
func isLoopback(host string) bool {
	name := hostname(host)
	addr, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && addr.IsLoopback()
}

// isPrivate tells whether a host is loopback or of a private network.
func isPrivate(host string) bool {
	addr, err := netip.ParseAddr(hostname(host))
	return isLoopback(host) || err == nil && addr.IsPrivate()
}

func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

// statusError is an HTTP status that is no success.
type statusError struct {
	Code int
}

func (e *statusError) Error() string { return fmt.Sprintf("bad HTTP status code: %d", e.Code) }
