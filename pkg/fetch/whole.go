// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// whole reads small answers to their end before it returns them, so that one
// that breaks in the middle is a request that failed, and is repeated as such.
// The contexts that asWhole makes say which answers are small.
type whole struct{ inner http.RoundTripper }

type wholeKey struct{}

// asWhole is for requests whose answers have up to limit bytes. Of a longer one
// comes one byte more, for which the reader refuses it.
func asWhole(ctx context.Context, limit int64) context.Context {
	return context.WithValue(ctx, wholeKey{}, limit)
}

func (t *whole) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.inner.RoundTrip(req)
	limit, ok := req.Context().Value(wholeKey{}).(int64)
	if err != nil || !ok || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return resp, nil
}
