// SPDX-License-Identifier: Apache-2.0

// Command actool builds, changes, validates, unpacks and finds App Container images.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rkt/rkt/v2/cmd/actool/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := cli.Main(ctx, &cli.Deps{Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now}, os.Args[1:])
	stop()
	os.Exit(status)
}
