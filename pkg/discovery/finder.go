// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Names of the tags.
const (
	EndpointTag = "ac-discovery"
	KeyTag      = "ac-discovery-pubkeys"
)

// App is what to look for.
type App struct {
	Name   appc.Identifier
	Labels appc.Labels
}

// Endpoint is where an image and its signature are.
type Endpoint struct {
	ACI, ASC *url.URL
}

// Finder searches. The zero value is usable and asks over https only.
type Finder struct {
	HTTP      bool   // try plain http where https fails
	TLS       bool   // accept any certificate
	Port      int    // to connect to; 0: that of the scheme
	UserAgent string // empty: "rkt"
	// Authorize, if set, adds credentials to a request, which is one over https.
	Authorize func(*http.Request)
	// Failed, if set, is called for each candidate that does not have the tag,
	// in order, also if a later one does.
	Failed func(tag, candidate string, err error)
	// DialContext, if set, makes the connections.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// PageTimeout, if not 0, is how long one page may take, where that is less
	// than the 30 seconds that it may take in any case.
	PageTimeout time.Duration

	search time.Duration // 0: searchTimeout
}

// Endpoints finds where an image is. Labels os and arch that are not given are
// the host's; a version that is not given is "latest", in templates only. If
// there is nothing the error is an *Error.
func (f *Finder) Endpoints(ctx context.Context, app App) ([]Endpoint, error) {
	values := templateValues(app)
	found, err := walk(ctx, f, EndpointTag, string(app.Name), func(t tag) (Endpoint, error) { return render(t.uri, values) })
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(found, func(a, b Endpoint) int { return cmp.Compare(rank(a.ACI), rank(b.ACI)) })
	return found, nil
}

// rank puts https before http.
func rank(u *url.URL) int {
	if u.Scheme == "https" {
		return 0
	}
	return 1
}

// Keys finds where the keys for a prefix of image names are. URLs with plain
// http are among them if the page has any: it is for the caller to refuse
// them. If there is nothing the error is an *Error.
func (f *Finder) Keys(ctx context.Context, prefix string) ([]*url.URL, error) {
	if _, err := appc.NewIdentifier(prefix); err != nil {
		return nil, fmt.Errorf("prefix %q: %w", prefix, err)
	}
	return walk(ctx, f, KeyTag, prefix, func(t tag) (*url.URL, error) { return parseURL(t.uri) })
}

// walk goes from the whole name up to the host.
func walk[T any](ctx context.Context, f *Finder, kind, name string, use func(tag) (T, error)) ([]T, error) {
	candidates := candidatesOf(name)
	if len(candidates) > maxCandidates {
		return nil, fmt.Errorf("image name %q has more than %d components", cut(name), maxCandidates)
	}
	limited, cancel := context.WithTimeoutCause(ctx, cmp.Or(f.search, searchTimeout), errSearchTimeout)
	defer cancel()
	c := f.newConn()
	defer c.close()
	failed := &Error{Tag: kind}
	for _, candidate := range candidates {
		if limited.Err() != nil {
			break
		}
		tags, attempts := c.page(limited, candidate)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if last := &attempts[len(attempts)-1]; last.Err == nil {
			var found []T
			if found, last.Err = pick(tags, kind, name, use); len(found) > 0 {
				return found, nil
			}
		}
		a := Failure{Candidate: candidate, Attempts: attempts}
		failed.Failures = append(failed.Failures, a)
		if f.Failed != nil {
			f.Failed(kind, candidate, a)
		}
	}
	return nil, failed
}

// candidatesOf lists the pages to try. Slashes that follow each other count
// as one: there is no page between them.
func candidatesOf(name string) []string {
	var candidates []string
	for name != "" {
		candidates = append(candidates, name)
		name = strings.TrimRight(name[:max(0, strings.LastIndexByte(name, '/'))], "/")
	}
	return candidates
}
