// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// What clients can make the service hold.
const (
	maxRequest     = 1 << 20
	maxAnswer      = 64 << 20
	maxConnections = 256 // of each socket
	maxCalls       = 64  // at a time, of each connection
	maxStreams     = 256 // of events and logs, of all clients
)

// Config says what to serve.
type Config struct {
	DataDir string
	Info    *v1alpha.Info
	TLS     *tls.Config // of TCP sockets; nil: clear text
	Log     *slog.Logger
}

// Server answers the API. Serve may be called once.
type Server struct {
	v1alpha.UnimplementedPublicAPIServer

	c        Config
	images   *imagestore.Reader
	hub      *hub
	streams  chan struct{}
	stopping chan struct{}
}

// New returns a server that has read nothing yet.
func New(c Config) *Server {
	return &Server{
		c: c, images: imagestore.NewReader(filepath.Join(c.DataDir, poddir.CAS), c.Log), hub: newHub(),
		streams: make(chan struct{}, maxStreams), stopping: make(chan struct{}),
	}
}

// GetInfo tells of the service itself.
func (s *Server) GetInfo(context.Context, *v1alpha.GetInfoRequest) (*v1alpha.GetInfoResponse, error) {
	return &v1alpha.GetInfoResponse{Info: s.c.Info}, nil
}

// Serve answers on all listeners, which it closes, until ctx is done; then
// calls get a second to end.
func (s *Server) Serve(ctx context.Context, listeners []net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { newWatcher(s.c.DataDir, s.images, s.hub.publish, s.c.Log).run(ctx) })
	open, secured := s.newGRPC(nil), s.newGRPC(s.c.TLS)
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		g := secured
		if l.Addr().Network() == "unix" {
			g = open
		}
		wg.Go(func() { failed <- g.Serve(netutil.LimitListener(l, maxConnections)) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	close(s.stopping)
	for _, g := range []*grpc.Server{open, secured} {
		wg.Go(func() { stop(g) })
	}
	wg.Wait()
	return err
}

// stop lets calls end, but not for ever.
func stop(g *grpc.Server) {
	t := time.AfterFunc(time.Second, g.Stop)
	defer t.Stop()
	g.GracefulStop()
}

func (s *Server) newGRPC(secured *tls.Config) *grpc.Server {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxRequest), grpc.MaxSendMsgSize(maxAnswer), grpc.MaxConcurrentStreams(maxCalls),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 20 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 2 * time.Minute, Timeout: 20 * time.Second, MaxConnectionIdle: 30 * time.Minute}),
		grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream),
	}
	if secured != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(secured)))
	}
	g := grpc.NewServer(options...)
	v1alpha.RegisterPublicAPIServer(g, s)
	h := health.NewServer()
	h.SetServingStatus(v1alpha.PublicAPI_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(g, h)
	reflection.Register(g)
	return g
}

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer s.survive(info.FullMethod, &err)
	return next(ctx, req)
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer s.survive(info.FullMethod, &err)
	return next(srv, ss)
}

// survive makes an error of a panic: one pod with files that nobody has thought
// of must not end the service for all.
func (s *Server) survive(method string, err *error) {
	if p := recover(); p != nil {
		s.c.Log.Error("internal fault", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "internal fault of the API service, see its log")
	}
}

// takeStream counts a call that can last for ever.
func (s *Server) takeStream() (release func(), err error) {
	select {
	case s.streams <- struct{}{}:
		return func() { <-s.streams }, nil
	default:
		return nil, status.Error(codes.ResourceExhausted, "too many streams of events and logs")
	}
}

// asStatus gives errors of the machine a code.
func asStatus(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Internal, valid(err.Error()))
}
