// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// ErrUnreachable says that no metadata service answers at its socket.
var ErrUnreachable = errors.New("could not reach the metadata service.") //nolint:staticcheck,revive // spec services.md 1.4

// How often a request is tried, and how long one may take.
const (
	attempts       = 3
	requestTimeout = 10 * time.Second
)

// Client registers pods. Its zero value is of no use; see NewClient.
type Client struct {
	socket string
	pause  time.Duration // between attempts
	http   *http.Client
}

// NewClient returns a client of the service that has its files in dir.
func NewClient(dir mds.Dir) *Client {
	c := &Client{socket: dir.Socket(), pause: time.Second}
	c.http = &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		},
	}
	return c
}

// dialError is a failure to connect: nothing was sent, so it may be tried again.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, &dialError{err}
	}
	return conn, nil
}

// Reachable tells by its error, which is ErrUnreachable, that nobody listens,
// after as many attempts as registering makes.
func (c *Client) Reachable(ctx context.Context) error {
	return c.repeat(ctx, func() error {
		conn, err := c.dial(ctx)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// Register makes the pod, whose lock the caller holds, known to the service
// under a new token, which it returns. The pod directory keeps the token.
func (c *Client) Register(ctx context.Context, p *pod.Pod) (string, error) {
	token := mds.NewToken()
	if err := atomicfile.WriteNoSync(filepath.Join(p.Path(), poddir.MDSToken), []byte(token), 0o600); err != nil {
		return "", err
	}
	g, err := load(p)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(g.dataDir)
	if err != nil {
		return "", err
	}
	data, err := g.manifest.Marshal()
	if err != nil {
		return "", err
	}
	path := "/pods/" + g.uuid.String()
	query := url.Values{tokenParam: {token}, dirParam: {dir}}
	if err := c.send(ctx, http.MethodPut, path, query, data); err != nil {
		return "", err
	}
	for _, a := range g.manifest.Apps {
		if err := c.send(ctx, http.MethodPut, path+"/"+a.Name.String(), nil, g.images[a.Name].raw); err != nil {
			return "", err
		}
	}
	return token, nil
}

// Unregister makes the service forget a pod. That it does not know the pod, for
// example because it was started after the pod had ended, is no error.
func (c *Client) Unregister(ctx context.Context, p *pod.Pod) error {
	err := c.send(ctx, http.MethodDelete, "/pods/"+p.UUID().String(), nil, nil)
	var refused *refusal
	if errors.As(err, &refused) && refused.status == http.StatusNotFound {
		return nil
	}
	return err
}

// refusal is an answer other than 200.
type refusal struct {
	method, path string
	status       int
	why          string
}

func (e *refusal) Error() string {
	s := fmt.Sprintf("%s %s returned %d", e.method, e.path, e.status)
	if e.why != "" {
		s += ": " + e.why
	}
	return s
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, body []byte) error {
	u := url.URL{Scheme: "http", Host: "metadata", Path: path, RawQuery: query.Encode()}
	return c.repeat(ctx, func() error {
		q, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		return c.answer(q)
	})
}

func (c *Client) answer(q *http.Request) error {
	resp, err := c.http.Do(q)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) { // it would print the token
			err = failed.Err
		}
		return fmt.Errorf("%s %s: %w", q.Method, q.URL.Path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	const most = 1 << 10
	why, _ := io.ReadAll(io.LimitReader(resp.Body, most))
	return &refusal{q.Method, q.URL.Path, resp.StatusCode, printable(strings.TrimSpace(string(why)))}
}

// repeat tries several times as long as nobody listens: the service may have
// been started an instant ago.
func (c *Client) repeat(ctx context.Context, do func() error) error {
	for i := 1; ; i++ {
		err := do()
		var dial *dialError
		if !errors.As(err, &dial) {
			return err
		}
		if i == attempts {
			return hint.With(ErrUnreachable,
				`start it with "systemctl start rkt-metadata.socket" or "rkt metadata-service"; connecting failed: %v`, dial.error)
		}
		select {
		case <-time.After(c.pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
