// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
)

// serve starts a server that ends with the test.
func serve(t *testing.T, c Config, l net.Listener) (addr string) {
	t.Helper()
	c.Info, c.Log = &v1alpha.Info{ApiVersion: "test"}, slog.New(slog.DiscardHandler)
	if c.DataDir == "" {
		c.DataDir = filepath.Join(t.TempDir(), "none")
	}
	run(t, New(c), l)
	return l.Addr().String()
}

func run(t *testing.T, s *Server, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, []net.Listener{l}) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the server does not end")
		}
	})
}

func dial(t *testing.T, addr string, creds credentials.TransportCredentials, more ...grpc.DialOption) v1alpha.PublicAPIClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, append(more, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return v1alpha.NewPublicAPIClient(conn)
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func local(t *testing.T) net.Listener {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestNoData: of a data directory that is not there everything is told, and it
// is not made.
func TestNoData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	api := dial(t, serve(t, Config{DataDir: dir}, local(t)), insecure.NewCredentials())
	ctx := limited(t)
	pods, err := api.ListPods(ctx, &v1alpha.ListPodsRequest{Detail: true})
	if err != nil || len(pods.GetPods()) != 0 {
		t.Errorf("%v, %v", pods, err)
	}
	images, err := api.ListImages(ctx, &v1alpha.ListImagesRequest{Detail: true})
	if err != nil || len(images.GetImages()) != 0 {
		t.Errorf("%v, %v", images, err)
	}
	const uuid = "3ebdbe4f-3f4e-4f7c-8c3d-4f0f8f6d8d0a"
	want := func(code codes.Code, text string, err error) {
		t.Helper()
		if status.Code(err) != code || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %v %s", err, code, text)
		}
	}
	_, err = api.InspectPod(ctx, &v1alpha.InspectPodRequest{Id: uuid})
	want(codes.NotFound, uuid, err)
	_, err = api.InspectPod(ctx, &v1alpha.InspectPodRequest{Id: "../" + strings.Repeat("x", 10000)})
	want(codes.InvalidArgument, "invalid pod ID", err)
	if len(err.Error()) > 1000 {
		t.Errorf("the whole request comes back: %d bytes", len(err.Error()))
	}
	_, err = api.InspectImage(ctx, &v1alpha.InspectImageRequest{Id: "sha512-0123"})
	want(codes.NotFound, `no such image with ID "sha512-0123"`, err)
	_, err = api.InspectImage(ctx, &v1alpha.InspectImageRequest{Id: "../x"})
	want(codes.InvalidArgument, "invalid image ID", err)
	logs, err := api.GetLogs(ctx, &v1alpha.GetLogsRequest{PodId: uuid, Lines: -1})
	if err == nil {
		_, err = logs.Recv()
	}
	want(codes.InvalidArgument, "must not be negative", err)
	if _, err := os.Stat(dir); err == nil {
		t.Error("the data directory was made")
	}
}

// TestSlowReader: a client that does not read is let go, and others get what
// happens meanwhile.
func TestSlowReader(t *testing.T) {
	s := New(Config{DataDir: filepath.Join(t.TempDir(), "none"), Log: slog.New(slog.DiscardHandler)})
	l := local(t)
	run(t, s, l)
	ctx := limited(t)
	slow, err := dial(t, l.Addr().String(), insecure.NewCredentials(), grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(64<<10)).
		ListenEvents(ctx, &v1alpha.ListenEventsRequest{})
	if err == nil {
		_, err = slow.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	fast, err := dial(t, l.Addr().String(), insecure.NewCredentials()).ListenEvents(ctx, &v1alpha.ListenEventsRequest{})
	if err == nil {
		_, err = fast.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	const n = 3 * maxWaiting
	text := strings.Repeat("x", 1000)
	for i := range n {
		s.hub.publish([]*v1alpha.Event{{From: text, Time: int64(i)}})
		r, err := fast.Recv()
		if err != nil || r.GetEvents()[0].GetTime() != int64(i) {
			t.Fatalf("event %d: %v, %v", i, r, err)
		}
	}
	got := 0
	for ; err == nil; got++ {
		_, err = slow.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted || got == 0 || got > n {
		t.Errorf("after %d events: %v", got, err)
	}
}

// TestTooManyStreams: streams that last are counted and given back.
func TestTooManyStreams(t *testing.T) {
	s := New(Config{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	var release []func()
	for range maxStreams {
		r, err := s.takeStream()
		if err != nil {
			t.Fatal(err)
		}
		release = append(release, r)
	}
	if _, err := s.takeStream(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	release[0]()
	if _, err := s.takeStream(); err != nil {
		t.Error(err)
	}
}

// TestPanicIsAnError: a fault in one call ends that call alone.
func TestPanicIsAnError(t *testing.T) {
	s := New(Config{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	_, err := s.unary(t.Context(), nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { panic("x") })
	if status.Code(err) != codes.Internal {
		t.Error(err)
	}
}
