// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// sleeper waits; tests do not.
type sleeper func(ctx context.Context, d time.Duration) error

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// backOff is how long to wait after failure number n, from zero: twice as long
// each time, with a random half so that many clients do not come back together.
func backOff(n int) time.Duration {
	d := min(firstBackOff<<min(n, 20), maxBackOff)
	return d/2 + rand.N(d/2)
}

// retry repeats requests without body that failed in a way that may pass.
type retry struct {
	inner http.RoundTripper
	sleep sleeper
	log   func(format string, args ...any)
	// answersOnly leaves network errors alone, where another scheme is to be
	// tried at once.
	answersOnly bool
}

func (t *retry) RoundTrip(req *http.Request) (*http.Response, error) {
	for n := 0; ; n++ {
		resp, err := t.inner.RoundTrip(req)
		wait, again := retryAfter(resp, err, n)
		if !again || err != nil && t.answersOnly || n+1 >= attempts || req.Body != nil {
			return resp, err
		}
		if resp != nil {
			t.log("%s answered %s, trying again", req.URL.Host, resp.Status)
			_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBody)
			_ = resp.Body.Close()
		} else {
			t.log("%s: %v, trying again", req.URL.Host, err)
		}
		if err := t.sleep(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// retryAfter decides whether a result may get better by waiting, and how long.
func retryAfter(resp *http.Response, err error, n int) (time.Duration, bool) {
	if err != nil {
		return backOff(n), mayPass(err)
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return 0, false
	}
	wait, ok := parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
	if !ok {
		return backOff(n), true
	}
	return wait, wait <= maxRetryAfter
}

func parseRetryAfter(s string, now time.Time) (time.Duration, bool) {
	if n, err := strconv.ParseInt(s, 10, 32); err == nil && n >= 0 {
		return time.Duration(n) * time.Second, true
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(now)), true
	}
	return 0, false
}

// mayPass tells whether a network error is worth another try: not if we gave
// up ourselves, the other side cannot be trusted, or there is no such host.
func mayPass(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errPlainHTTP):
		return false
	case errors.As(err, &certificate), errors.As(err, &record):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	}
	return true
}
