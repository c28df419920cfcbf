// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// conn asks for the pages of one search, which are all of one host.
type conn struct {
	f      *Finder
	client *http.Client
	// dead are the schemes over which the host cannot be reached.
	dead map[string]error
}

func (f *Finder) newConn() *conn {
	dial := f.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return &conn{f: f, dead: map[string]error{}, client: &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dial,
			TLSHandshakeTimeout:    tlsTimeout,
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: f.TLS, MinVersion: tls.VersionTLS12},
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: maxHeader,
		},
	}}
}

func (c *conn) close() { c.client.CloseIdleConnections() }

// page asks for a candidate over https, then, if that fails and is allowed,
// over http. There is at least one attempt; the last has no error if there is a page.
func (c *conn) page(ctx context.Context, candidate string) ([]tag, []Attempt) {
	schemes := []string{"https"}
	if c.f.HTTP {
		schemes = append(schemes, "http")
	}
	var attempts []Attempt
	for _, scheme := range schemes {
		if err := c.dead[scheme]; err != nil {
			attempts = append(attempts, Attempt{Err: err})
			continue
		}
		u := c.url(scheme, candidate)
		tags, err := c.get(ctx, u)
		attempts = append(attempts, Attempt{URL: u.String(), Err: err})
		if err == nil {
			return tags, attempts
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, attempts
}

func (c *conn) url(scheme, candidate string) *url.URL {
	host, path, ok := strings.Cut(candidate, "/")
	if ok {
		path = "/" + path
	}
	if c.f.Port != 0 {
		host = net.JoinHostPort(host, strconv.Itoa(c.f.Port))
	}
	return &url.URL{Scheme: scheme, Host: host, Path: path, RawQuery: "ac-discovery=1"}
}

func (c *conn) get(ctx context.Context, u *url.URL) ([]tag, error) {
	limit := min(cmp.Or(c.f.PageTimeout, requestTimeout), requestTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w %s", errRequestTimeout, limit))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", cmp.Or(c.f.UserAgent, "rkt"))
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.5")
	if c.f.Authorize != nil && u.Scheme == "https" {
		c.f.Authorize(req)
	}
	redirected := false
	client := *c.client
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		redirected = true
		return checkRedirect(req, via)
	}
	resp, err := client.Do(req)
	if err != nil {
		err = explain(ctx, err)
		if !redirected && isUnreachable(err) {
			c.dead[u.Scheme] = err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{resp.StatusCode}
	}
	tags, err := tagsOf(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return nil, explain(ctx, err)
	}
	return tags, nil
}

// explain drops the URL that net/http puts before its errors, and says which
// limit it was.
func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// isUnreachable tells whether an error is one of the host, so that it would be
// the same for another page.
func isUnreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &dns) || errors.As(err, &certificate) || errors.As(err, &record) ||
		errors.As(err, &op) && op.Op == "dial" || errors.Is(err, errRequestTimeout)
}

// checkRedirect bounds redirects and keeps credentials where they belong:
// net/http would send them to sub-domains and other ports as well.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return errRedirects
	}
	switch req.URL.Scheme {
	case "https":
	case "http":
		if via[len(via)-1].URL.Scheme == "https" {
			return errDowngrade
		}
	default:
		return errors.New("redirect to something that is not http or https")
	}
	if req.URL.Scheme != "https" || address(req.URL) != address(via[0].URL) {
		req.Header.Del("Authorization")
	}
	// Where credentials in the URL come from a redirect they are not ours to give.
	req.URL.User = nil
	req.Header.Del("Referer")
	return nil
}

// address is the host of a URL with the port filled in.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
