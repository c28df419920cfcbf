// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// errStalled is a server that keeps a connection open and sends nothing, or
// next to nothing. It is a network error like a broken connection.
var errStalled = errors.New("the server has stopped sending")

// watch gives up on a server that stalls: rkt runs unattended, and there is no
// limit for a transfer as a whole.
type watch struct {
	inner http.RoundTripper
	limit time.Duration // 0: stallLimit
}

func (t *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	limit := t.limit
	if limit == 0 {
		limit = stallLimit
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	b := &watchedBody{ctx: ctx, cancel: cancel, limit: limit}
	b.timer = time.AfterFunc(limit, func() { cancel(errStalled) })
	req = req.WithContext(ctx)
	if req.Body != nil {
		req.Body = &sentBody{req.Body, b}
	}
	resp, err := t.inner.RoundTrip(req)
	b.timer.Stop()
	if err != nil {
		err = b.explain(err)
		cancel(nil)
		return nil, err
	}
	b.inner, resp.Body = resp.Body, b
	return resp, nil
}

// sentBody gives a server time for as long as it takes what it is sent.
type sentBody struct {
	io.ReadCloser
	b *watchedBody
}

func (s *sentBody) Read(p []byte) (int, error) {
	if s.b.timer.Stop() {
		s.b.timer.Reset(s.b.limit)
	}
	return s.ReadCloser.Read(p)
}

// watchedBody counts only the time that a reader waits in it: whoever writes
// what was read to a slow disk is not the server.
type watchedBody struct {
	inner  io.ReadCloser
	ctx    context.Context //nolint:containedctx // of the request whose body this is
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration

	waited time.Duration
	got    int
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.limit)
	start := time.Now()
	n, err := b.inner.Read(p)
	b.timer.Stop()
	b.waited += time.Since(start)
	b.got += n
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return n, b.explain(err)
	case err == nil && b.waited >= b.limit:
		if float64(b.got) < minSpeed*b.limit.Seconds() {
			b.cancel(errStalled)
			return n, errStalled
		}
		b.waited, b.got = 0, 0
	}
	return n, err
}

// explain replaces the error of a request that was cancelled here.
func (b *watchedBody) explain(err error) error {
	if errors.Is(context.Cause(b.ctx), errStalled) {
		return errStalled
	}
	return err
}

func (b *watchedBody) Close() error {
	b.timer.Stop()
	err := b.inner.Close()
	b.cancel(nil)
	return err
}
