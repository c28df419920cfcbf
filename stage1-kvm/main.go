// SPDX-License-Identifier: Apache-2.0

// Command stage1-kvm is what the image stage1-kvm has beside stage1-coreos: the
// entrypoints on the host that are about a virtual machine, and the first
// programs inside it.
package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/guest"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/host"
)

// statusFailed is the exit status of every failure of rkt itself.
const statusFailed = 254

// program is one of the programs: argv with its name first.
type program struct {
	prefix string // of messages
	main   func(argv []string) error
}

// programs are the names that the binary is called by.
func programs() map[string]program {
	return map[string]program{
		// On the host.
		"kvm_run":   {"stage1", host.Run},
		"kvm_enter": {"enter", host.Enter},
		// In the guest.
		"init":          {"guest", guest.Init},
		guest.AgentName: {"guest", guest.Agent},
		"net":           {"net", guest.StandIn},
	}
}

func main() {
	// The mount namespace of the pod belongs to a thread.
	runtime.LockOSThread()
	name := path.Base(os.Args[0])
	p, ok := programs()[name]
	if !ok {
		p = program{"stage1", func([]string) error { return fmt.Errorf("%q is not a program of stage1-kvm", name) }}
	}
	err := p.main(os.Args)
	if err == nil {
		return
	}
	var status host.StatusError
	if errors.As(err, &status) {
		os.Exit(int(status))
	}
	_, _ = os.Stderr.WriteString(p.prefix + ": " + err.Error() + "\n")
	if h := hint.Of(err); h != "" {
		_, _ = os.Stderr.WriteString("hint: " + h + "\n")
	}
	os.Exit(statusFailed)
}
