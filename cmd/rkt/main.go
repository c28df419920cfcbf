// SPDX-License-Identifier: Apache-2.0

// Command rkt runs pods of application containers.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/cli"
	"github.com/rkt/rkt/v2/cmd/rkt/internal/embedded"
)

func main() {
	// Who may read pods and images is part of their layout, not a matter of the
	// caller's umask.
	syscall.Umask(0o022)
	ctx := context.Background()
	if wanted := signals(); len(wanted) > 0 { // none would mean all
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, wanted...)
		context.AfterFunc(ctx, stop) // a second signal ends rkt at once
	}
	os.Exit(cli.Main(ctx, cli.NewDeps(embedded.Images()), arguments(os.Args)))
}

// arguments are those of the command line. systemd knows generators by the
// directory they are in and passes directories only.
func arguments(argv []string) []string {
	if len(argv) > 0 && filepath.Base(argv[0]) == cli.GeneratorProgram {
		return append([]string{cli.GeneratorCommand}, argv[1:]...)
	}
	return argv[1:]
}

// signals end rkt in order, unless the caller wants them ignored: a pod
// inherits that.
func signals() []os.Signal {
	var out []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			out = append(out, s)
		}
	}
	return out
}
