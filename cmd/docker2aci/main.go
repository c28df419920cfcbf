// SPDX-License-Identifier: Apache-2.0

// Command docker2aci converts images of registries and archives to App Container images.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/rkt/rkt/v2/cmd/docker2aci/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := cli.Main(ctx, &cli.Deps{Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}, os.Args[1:])
	stop()
	os.Exit(status)
}
