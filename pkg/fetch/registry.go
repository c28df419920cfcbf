// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

var errPlainHTTP = hint.With(errors.New("plain http is not allowed (try --insecure-options=http)"),
	"if you trust the network up to the registry, accept plain http with --insecure-options=http")

// registryConn is a connection to one repository of a registry.
type registryConn struct {
	run    *run
	host   string
	repo   string
	scheme string
	client *http.Client
	base   *hostTransports
	// insecure says that the configuration allows plain http and any
	// certificate for this registry.
	insecure bool
	// actions are what a token is asked for.
	actions string
	// anonymous says that there was nothing to show to the registry.
	anonymous bool
}

// connect finds out how the registry speaks and what it wants to be shown.
func (r *run) connect(ctx context.Context, e config.Endpoint, actions string) (*registryConn, error) {
	g := &registryConn{run: r, host: e.Host, repo: e.Repository, base: &hostTransports{run: r}, insecure: e.Insecure, actions: actions}
	if e.Insecure {
		g.base.insecure = e.Host
	}
	challenge, err := g.ping(ctx)
	if err != nil {
		g.close()
		return nil, g.hint(err)
	}
	auth, err := g.authenticate(ctx, challenge)
	if err != nil {
		g.close()
		return nil, g.hint(err)
	}
	g.client = &http.Client{Transport: auth, CheckRedirect: checkRedirect}
	return g, nil
}

func (g *registryConn) close() { g.base.CloseIdleConnections() }

// allowHTTP tells whether host may be spoken to in the clear: registries on
// this machine may, others only if the user or the configuration says so.
func (g *registryConn) allowHTTP(host string) bool {
	return g.run.Insecure.HTTP || g.insecure && host == g.host || isLoopback(g.host) && isLoopback(host)
}

// stack is the way of a request: retries, headers, then the check that no
// request goes out in the clear.
func (g *registryConn) stack(answersOnly bool) http.RoundTripper {
	h := &whole{&headers{inner: &guard{inner: g.run.watched(g.base), allowHTTP: g.allowHTTP}, userAgent: g.run.userAgent()}}
	return &retry{inner: h, sleep: g.run.sleeper(), log: g.run.debug, answersOnly: answersOnly}
}

func (r *run) sleeper() sleeper {
	if r.sleep != nil {
		return r.sleep
	}
	return sleep
}

// guard refuses http where it is not allowed, also after a redirect.
type guard struct {
	inner     http.RoundTripper
	allowHTTP func(host string) bool
}

func (t *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !t.allowHTTP(req.URL.Host) {
		return nil, errPlainHTTP
	}
	return t.inner.RoundTrip(req)
}

// ping asks GET /v2/ over https, then, where that is allowed, over http.
func (g *registryConn) ping(ctx context.Context) (*transport.Challenge, error) {
	challenge, err := g.pingScheme(ctx, "https")
	if err == nil {
		return challenge, nil
	}
	if ctx.Err() != nil || !g.allowHTTP(g.host) {
		return nil, err
	}
	challenge, httpErr := g.pingScheme(ctx, "http")
	if httpErr != nil {
		return nil, fmt.Errorf("%w; over http: %w", err, httpErr)
	}
	return challenge, nil
}

func (g *registryConn) pingScheme(ctx context.Context, scheme string) (*transport.Challenge, error) {
	var opts []name.Option
	if scheme == "http" {
		opts = append(opts, name.Insecure)
	}
	reg, err := name.NewRegistry(g.host, opts...)
	if err != nil {
		return nil, err
	}
	only := &oneScheme{inner: g.stack(true), scheme: scheme}
	challenge, err := transport.Ping(ctx, reg, only)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", g.host, only.explain(err))
	}
	g.scheme = scheme
	if challenge.Insecure {
		g.scheme = "http"
	}
	return challenge, nil
}

// oneScheme lets only one scheme through: the library would try both for
// registries that look local. It keeps the error of that one.
type oneScheme struct {
	inner  http.RoundTripper
	scheme string
	mu     sync.Mutex
	err    error
}

func (t *oneScheme) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != t.scheme {
		return nil, errPlainHTTP
	}
	resp, err := t.inner.RoundTrip(req)
	if err != nil {
		t.mu.Lock()
		t.err = err
		t.mu.Unlock()
	}
	return resp, err
}

func (t *oneScheme) explain(err error) error {
	var status *transport.Error
	if errors.As(err, &status) && status.Request != nil {
		return unexpectedCode(status.StatusCode, status.Request.URL, nil)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	return err
}

// codeError is an answer of a registry that is no success.
type codeError struct {
	Code   int
	URL    string
	Detail string
}

func (e *codeError) Error() string {
	s := fmt.Sprintf("Unexpected HTTP code: %d, URL: %s", e.Code, e.URL)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// unexpectedCode quotes the registry's own words. The query is left out: it
// may hold a signature that works like a password.
func unexpectedCode(code int, u *url.URL, body io.Reader) error {
	e := &codeError{Code: code, URL: (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()}
	if body == nil {
		return e
	}
	var reply struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.NewDecoder(io.LimitReader(body, maxErrorBody)).Decode(&reply) == nil && len(reply.Errors) > 0 {
		e.Detail = fmt.Sprintf("%q", reply.Errors[0].Code+" "+reply.Errors[0].Message)
	}
	return e
}

func (g *registryConn) url(kind, reference string) string {
	return (&url.URL{Scheme: g.scheme, Host: g.host, Path: "/v2/" + g.repo + "/" + kind + "/" + reference}).String()
}

func (g *registryConn) request(ctx context.Context, method, u string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	return send(g.client, req)
}

func acceptHeader() http.Header {
	return http.Header{"Accept": {strings.Join(ociconv.Accept(), ", ")}}
}

// head asks for the digest of a tag. It is empty if the registry does not say.
func (g *registryConn) head(ctx context.Context, reference string) string {
	resp, err := g.request(ctx, http.MethodHead, g.url("manifests", reference), acceptHeader())
	if err != nil {
		return ""
	}
	_ = resp.Body.Close()
	digest := resp.Header.Get("Docker-Content-Digest")
	if resp.StatusCode != http.StatusOK || ociconv.CheckDigest(digest) != nil {
		return ""
	}
	return digest
}

// document is a manifest or index with the digest of its bytes.
type document struct {
	data      []byte
	mediaType string
	digest    string
}

// manifest gets a manifest by tag or digest. Tags are hashed with SHA-256.
func (g *registryConn) manifest(ctx context.Context, reference string) (document, error) {
	resp, err := g.request(asWhole(ctx, ociconv.MaxManifest), http.MethodGet, g.url("manifests", reference), acceptHeader())
	if err != nil {
		return document{}, err
	}
	defer resp.Body.Close()
	if limit := resp.Header.Get("RateLimit-Remaining"); limit != "" {
		g.run.debug("registry %s: rate limit %q, remaining %q", g.host, resp.Header.Get("RateLimit-Limit"), limit)
	}
	if resp.StatusCode != http.StatusOK {
		return document{}, g.hint(unexpectedCode(resp.StatusCode, resp.Request.URL, resp.Body))
	}
	data, err := readCapped(resp.Body, ociconv.MaxManifest)
	if err != nil {
		return document{}, fmt.Errorf("manifest %s: %w", reference, err)
	}
	d := document{data: data, mediaType: ociconv.DocumentType(data, resp.Header.Get("Content-Type"))}
	d.digest = digestOf("sha256", data)
	if algorithm, _, ok := strings.Cut(reference, ":"); ok {
		if d.digest = digestOf(algorithm, data); d.digest != reference {
			return document{}, &digestError{Want: reference, Got: d.digest}
		}
	}
	return d, nil
}

// digestError is content that is not what its digest says.
type digestError struct{ Want, Got string }

func (e *digestError) Error() string {
	return fmt.Sprintf("digest does not match: %s expected but %s found", e.Want, e.Got)
}

// digestOf returns "" for an unknown algorithm.
func digestOf(algorithm string, data []byte) string {
	switch algorithm {
	case "sha256":
		sum := sha256.Sum256(data)
		return algorithm + ":" + hex.EncodeToString(sum[:])
	case "sha512":
		sum := sha512.Sum512(data)
		return algorithm + ":" + hex.EncodeToString(sum[:])
	}
	return ""
}

// readCapped reads all of a small document.
func readCapped(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("larger than the limit of %d bytes", limit)
	}
	return data, nil
}
