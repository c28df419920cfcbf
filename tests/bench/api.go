// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/tests/harness"
)

// apiLists is how long the API service takes to list all pods, of which there
// are want: the median of a few times, after the first.
func apiLists(b *bench, h *harness.Host, want int) time.Duration {
	dir, err := os.MkdirTemp("", "rkt-api-") // short: a path of a socket has 108 bytes
	if err != nil {
		b.Fatalf("%v", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	addr := "unix://" + filepath.Join(dir, "s")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := h.Cmd(ctx, "api-service", "--listen="+addr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatalf("%v", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		b.Fatalf("%v", err)
	}
	defer func() { _ = conn.Close() }()
	api := v1alpha.NewPublicAPIClient(conn)
	var all []time.Duration
	for i := range 1 + max(5, b.long()) {
		start := time.Now()
		r, err := api.ListPods(ctx, &v1alpha.ListPodsRequest{})
		if err != nil || len(r.GetPods()) != want {
			b.Fatalf("the API lists %d pods: %v", len(r.GetPods()), err)
		}
		if i > 0 {
			all = append(all, time.Since(start))
		}
	}
	return median(all)
}
