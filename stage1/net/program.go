// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/networking"
	"github.com/rkt/rkt/v2/networking/call"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
)

// maxRequest bounds what is read from the supervisor.
const maxRequest = 4 << 20

// run does what the argument list says: "setup" for the supervisor, "gc" for
// the gc entrypoint, or what entrypoint.Net has.
func run(argv []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	if len(argv) > 1 {
		switch argv[1] {
		case "setup":
			return setup(ctx)
		case "gc":
			return tearDown(ctx, argv[1:])
		}
	}
	n, err := entrypoint.ParseNet(argv)
	if err != nil {
		return err
	}
	switch n.Action {
	case entrypoint.NetSweep:
		return networking.Sweep(ctx, n.DataDir, os.Stderr, n.Debug)
	case entrypoint.NetRelease:
		return networking.Release(n.UUID)
	}
	report, err := networking.Check(ctx, n.UUID, os.Stderr, n.Debug, n.Action == entrypoint.NetRepair)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// setup answers the supervisor; why there are no networks is an answer, too.
func setup(ctx context.Context) error {
	unix.CloseOnExec(call.LockFD)
	data, err := io.ReadAll(io.LimitReader(os.Stdin, maxRequest))
	if err != nil {
		return err
	}
	var r call.Request
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("request of the supervisor: %w", err)
	}
	a, err := networking.Setup(ctx, r, os.Stderr)
	if err != nil {
		a = call.Answer{Error: err.Error()}
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

func tearDown(ctx context.Context, argv []string) error {
	g, err := entrypoint.ParseGC(argv)
	if err != nil {
		return err
	}
	if err := networking.TearDown(ctx, g.UUID, g.LocalConfig, os.Stderr, g.Debug); err != nil {
		return fmt.Errorf("tear down the networks of the pod: %w", err)
	}
	return nil
}
