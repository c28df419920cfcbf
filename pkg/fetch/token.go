// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// authenticate returns the transport that shows the registry what its
// challenge asks for. Credentials are not even looked up for a registry that speaks http.
func (g *registryConn) authenticate(ctx context.Context, challenge *transport.Challenge) (http.RoundTripper, error) {
	config := authn.AuthConfig{}
	if g.scheme == "https" {
		var err error
		if config, err = g.run.registryCredentials(ctx, g.host, g.repo); err != nil {
			return nil, fmt.Errorf("credentials for registry %s: %w", g.host, err)
		}
	}
	g.anonymous = config == authn.AuthConfig{}
	t := &authTransport{inner: g.stack(false), g: g, challenge: challenge, config: config}
	switch strings.ToLower(challenge.Scheme) {
	case "bearer":
		return t, t.refresh(ctx, "")
	case "basic":
		if config.Username != "" {
			text := config.Username + ":" + config.Password
			t.header = "Basic " + base64.StdEncoding.EncodeToString([]byte(text))
		}
	}
	return t, nil
}

var errTokenRefused = errors.New("unable to retrieve auth token: 401 unauthorized")

// authTransport adds the Authorization header to requests to the registry
// itself, and to no other: each redirect passes here again.
type authTransport struct {
	inner     http.RoundTripper
	g         *registryConn
	challenge *transport.Challenge
	config    authn.AuthConfig

	mu      sync.Mutex
	header  string
	expires time.Time // zero: not known
}

func (t *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	own := req.URL.Scheme == t.g.scheme && sameHost(req.URL, &url.URL{Scheme: t.g.scheme, Host: t.g.host})
	if !own {
		return t.inner.RoundTrip(req)
	}
	header, err := t.current(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := t.inner.RoundTrip(withAuthorization(req, header))
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !strings.EqualFold(t.challenge.Scheme, "bearer") {
		return resp, err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBody)
	_ = resp.Body.Close()
	if err := t.refresh(req.Context(), header); err != nil {
		return nil, err
	}
	if header, err = t.current(req.Context()); err != nil {
		return nil, err
	}
	if req.Body != nil && req.GetBody != nil {
		req = req.Clone(req.Context())
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return t.inner.RoundTrip(withAuthorization(req, header))
}

func withAuthorization(req *http.Request, header string) *http.Request {
	if header == "" {
		return req
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", header)
	return req
}

// current returns the header, with a new token if the old one has expired.
func (t *authTransport) current(ctx context.Context) (string, error) {
	t.mu.Lock()
	header, expires := t.header, t.expires
	t.mu.Unlock()
	if expires.IsZero() || time.Now().Before(expires) {
		return header, nil
	}
	if err := t.refresh(ctx, header); err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.header, nil
}

const (
	minTokenLife = 60 * time.Second // what the token protocol promises at least
	tokenMargin  = 10 * time.Second
)

// refresh gets a token unless somebody else replaced the old one meanwhile.
func (t *authTransport) refresh(ctx context.Context, old string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.header != old {
		return nil
	}
	if t.config.RegistryToken != "" {
		t.header = "Bearer " + t.config.RegistryToken
		return nil
	}
	token, err := t.exchange(ctx)
	if err != nil {
		return err
	}
	text := token.Token
	if text == "" {
		text = token.AccessToken
	}
	life := max(time.Duration(token.ExpiresIn)*time.Second, minTokenLife)
	t.header, t.expires = "Bearer "+text, time.Now().Add(life-tokenMargin)
	return nil
}

// exchange asks the token server that the challenge names.
func (t *authTransport) exchange(ctx context.Context) (*transport.Token, error) {
	realm, err := url.Parse(t.challenge.Parameters["realm"])
	if err != nil || realm.Host == "" {
		return nil, fmt.Errorf("registry %s: malformed token realm %q", t.g.host, t.challenge.Parameters["realm"])
	}
	reg, err := t.realmRegistry(realm)
	if err != nil {
		return nil, err
	}
	auth := authn.Anonymous
	if t.config != (authn.AuthConfig{}) {
		auth = authn.FromConfig(t.config)
	}
	// The scope in the answer to GET /v2/ is an example at best (ghcr.io's is).
	scope := "repository:" + t.g.repo + ":" + t.g.actions
	inner := &oneHost{inner: t.inner, realm: realm}
	token, err := transport.Exchange(asWhole(ctx, maxToken), reg, auth, inner, []string{scope}, t.challenge)
	if err != nil {
		return nil, fmt.Errorf("token server %s: %w", realm.Host, explainToken(err))
	}
	return token, nil
}

// realmRegistry is the registry the library compares the token server with. It
// refuses token servers with private addresses, a way to make clients speak to
// the cloud's metadata service; a registry that is private itself may have one.
func (t *authTransport) realmRegistry(realm *url.URL) (name.Registry, error) {
	host := t.g.host
	if isPrivate(host) && isPrivate(realm.Host) {
		host = realm.Host
	}
	return name.NewRegistry(host)
}

func explainToken(err error) error {
	var status *transport.Error
	if !errors.As(err, &status) {
		return err
	}
	if status.StatusCode == http.StatusUnauthorized {
		return errTokenRefused
	}
	if status.Request == nil {
		return err
	}
	return unexpectedCode(status.StatusCode, status.Request.URL, nil)
}

// oneHost keeps a token request, which may hold a password in its body, from
// being redirected elsewhere.
type oneHost struct {
	inner http.RoundTripper
	realm *url.URL
}

func (t *oneHost) RoundTrip(req *http.Request) (*http.Response, error) {
	if !sameHost(req.URL, t.realm) {
		return nil, fmt.Errorf("token server redirects to %s", req.URL.Host)
	}
	return t.inner.RoundTrip(req)
}
