// SPDX-License-Identifier: Apache-2.0

// Command acbuild builds App Container and OCI images step by step.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rkt/rkt/v2/cmd/acbuild/internal/cli"
)

func main() {
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == "acbuild-script" {
		args = append([]string{"script"}, args...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status := cli.Main(ctx, &cli.Deps{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now, EUID: os.Geteuid(),
	}, args)
	stop()
	os.Exit(status)
}
