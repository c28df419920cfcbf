// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
)

// fromURL brings an archive from a web server.
func (r *run) fromURL(ctx context.Context, rawURL string) (appc.ImageID, error) {
	known, ok, err := r.Store.Remote(rawURL)
	if err != nil {
		return "", fmt.Errorf("image from URL %q: %w", rawURL, err)
	}
	if r.o.Policy != Update && ok {
		r.debug("using image from local store for url %s", rawURL)
		return known.Key, nil
	}
	if r.o.Policy == Never {
		return "", fmt.Errorf("unable to fetch image from URL %q: %s", rawURL, tail)
	}
	return r.fromSource(ctx, source{url: rawURL, signature: r.o.Signature})
}

// source is one archive on a web server.
type source struct {
	url string
	// sigURL is where its signature is; empty means beside it.
	sigURL string
	// signature is the file of --signature, which is used instead of sigURL.
	signature string
	// latest says that the image was asked for without a version.
	latest bool
	// want, if not nil, is the name and all labels the image has to have.
	want *distribution.Appc
}

// fromSource brings an archive and remembers it, unless what is remembered is
// still fresh.
func (r *run) fromSource(ctx context.Context, s source) (appc.ImageID, error) {
	r.debug("remote fetching from URL %q", s.url)
	known, ok, err := r.Store.Remote(s.url)
	if err != nil {
		return "", fmt.Errorf("image from URL %q: %w", s.url, err)
	}
	if !ok {
		known = Remote{}
	}
	if ok && isFresh(known, time.Now()) {
		r.debug("image for %s isn't expired, not fetching.", s.url)
		return known.Key, nil
	}
	if r.mustVerify() && r.Insecure.TLS {
		r.message("warning: TLS verification has been disabled")
	}
	if r.mustVerify() && s.want != nil && r.TrustKeys != nil {
		r.TrustKeys(ctx, s.want.Name)
	}
	id, err := r.download(ctx, s, known)
	var refused *verifyError
	switch {
	case errors.As(err, &refused):
		return "", err // says what is wrong
	case err != nil:
		return "", fmt.Errorf("error downloading ACI: %s: %w", s.url, err)
	}
	return id, nil
}

// send drops the URL that net/http puts before its errors: the callers say it
// in their own way.
func send(client *http.Client, req *http.Request) (*http.Response, error) {
	resp, err := client.Do(req)
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return resp, err
}

// isFresh tells whether an earlier download may be used without asking. A
// download from the future says that the clock was turned back.
func isFresh(r Remote, now time.Time) bool {
	age := now.Sub(r.Downloaded)
	return r.MaxAge > 0 && age >= 0 && age < r.MaxAge
}

// maxAge reads how long an answer stays fresh; no-store and no-cache win
// wherever they stand.
func maxAge(h http.Header) time.Duration {
	var age time.Duration
	for _, line := range h.Values("Cache-Control") {
		for part := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "no-store", "no-cache":
				return 0
			case "max-age":
				age = seconds(strings.Trim(strings.TrimSpace(value), `"`))
			}
		}
	}
	return age
}

func seconds(s string) time.Duration {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n <= 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// signatureURL is where the signature of the archive at u is.
func signatureURL(u *url.URL) string {
	s := *u
	s.Path = signatureFile(u.Path)
	s.RawPath = ""
	return s.String()
}
