// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Config says how to serve.
type Config struct {
	Files   mds.Dir
	DataDir string // where pods are looked for after a restart, besides where they were

	Port      uint16       // 0: any
	Addresses []netip.Addr // none: loopback and the gateways of registered pods

	// CertFile and KeyFile, PEM, make pods be answered by TLS.
	CertFile, KeyFile string

	Getenv func(string) string
	// Log writes a line. It is called by many goroutines, one at a time.
	Log func(string)
}

// Bounds of a connection in time, and of a header in bytes.
const (
	headerTimeout = 5 * time.Second
	ioTimeout     = 10 * time.Second
	idleTimeout   = 30 * time.Second
	maxHeader     = 16 << 10
	endTimeout    = 2 * time.Second
	sweepEvery    = time.Minute
)

// Serve runs the service until the context ends, which is no error.
func Serve(ctx context.Context, c Config) error {
	c.Log = oneAtATime(c.Log)
	c.Log("metadata service starting...")
	if err := os.MkdirAll(string(c.Files), 0o755); err != nil {
		return err
	}
	l, err := lock.TryKey(string(c.Files), mds.LockKey, lock.Exclusive)
	if errors.Is(err, lock.ErrLocked) {
		return hint.With(fmt.Errorf("error listening on port %d: another metadata service is running", c.Port),
			"one serves the pods of all data directories")
	}
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.sockets.close()
	if err := c.Files.Record(mds.Endpoint{Port: portOf(s.sockets.public[0]), TLS: s.tls != nil}); err != nil {
		return err
	}
	c.Log("metadata service running...")
	err = s.run(ctx)
	c.Log("metadata service exiting...")
	return err
}

func oneAtATime(log func(string)) func(string) {
	var mu sync.Mutex
	return func(line string) {
		mu.Lock()
		defer mu.Unlock()
		log(line)
	}
}

// server is the service, ready to serve.
type server struct {
	*Config
	pods    *registry
	dirs    *dirList
	signer  *signer
	tls     *tls.Config
	sockets *sockets
}

func (c *Config) open(ctx context.Context) (*server, error) {
	s := &server{Config: c, pods: newRegistry()}
	var err error
	if s.tls, err = c.loadTLS(); err != nil {
		return nil, err
	}
	if s.signer, err = loadSigner(c.Files.Key()); err != nil {
		return nil, fmt.Errorf("error getting the key of signatures: %w", err)
	}
	if s.dirs, err = openDirs(c.Files.DataDirs(), c.DataDir); err != nil {
		return nil, err
	}
	s.restore(ctx)
	s.sockets, err = c.listen(ctx)
	return s, err
}

func (c *Config) loadTLS() (*tls.Config, error) {
	if c.CertFile == "" && c.KeyFile == "" {
		return nil, nil //nolint:nilnil // without TLS
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("error loading the TLS certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// restore finds the pods that were registered before the service was started.
// A directory or pod that cannot be read must not keep others from answers.
func (s *server) restore(ctx context.Context) {
	for _, dir := range s.dirs.all() {
		err := pod.Walk(ctx, dir, []string{poddir.Run}, func(string) {}, func(p *pod.Pod) error {
			if p.State() != pod.Running {
				return nil
			}
			g, err := load(p)
			if err == nil {
				err = s.pods.put(g)
			}
			if err != nil && !isGone(err) {
				s.Log(fmt.Sprintf("pod %s: %v", p.UUID(), err))
			}
			return nil
		})
		if err != nil && !isGone(err) {
			s.Log(fmt.Sprintf("pods of %s: %v", dir, err))
		}
	}
}

// run serves until the context or a listener ends.
func (s *server) run(ctx context.Context) error {
	register := newHTTP(logging(&registrar{s.pods, s.dirs}, s.Log, registerURI))
	public := newHTTP(logging(&public{s.pods, s.signer, s.Log}, s.Log, publicURI))
	failed := make(chan error, 1+len(s.sockets.public))
	go func() {
		failed <- register.Serve(&rootOnly{s.sockets.register, uint32(os.Geteuid()), newLimiter()})
	}()
	limit := newLimiter()
	for _, l := range s.sockets.public {
		go func() { failed <- public.Serve(s.guarded(ctx, l, limit)) }()
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.pods.sweep(ctx)
		case err := <-failed:
			return fmt.Errorf("error serving: %w", errors.Join(err, register.Close(), public.Close()))
		case <-ctx.Done():
			return s.stop(context.WithoutCancel(ctx), register, public)
		}
	}
}

// stop lets requests that are under way be answered, for a moment.
func (s *server) stop(ctx context.Context, servers ...*http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	for _, h := range servers {
		if h.Shutdown(ctx) != nil {
			_ = h.Close()
		}
	}
	return nil
}

func (s *server) guarded(ctx context.Context, l net.Listener, limit *limiter) net.Listener {
	g := &guard{Listener: l, limit: limit}
	if len(s.Addresses) == 0 {
		g.allow = func(local, remote netip.Addr) bool { return s.pods.connects(ctx, local, remote) }
	}
	if s.tls != nil {
		return tls.NewListener(g, s.tls)
	}
	return g
}

func newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       log.New(io.Discard, "", 0), // what pods do wrong is their business
	}
}
