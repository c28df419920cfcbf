// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// hookName is what this program calls itself for a handler: a filter cannot be
// taken off again, so a handler is confined in a process of its own.
const hookName = "pre-start"

// rootFD is the descriptor of the app's root in that process.
const rootFD = 3

// preStart runs the pre-start handler of the app, as root of the pod, and
// fails if it does. Arguments: the working directory, then the program.
func (p *pod) preStart(root *inroot.Root) error {
	for _, h := range p.app.EventHandlers {
		if h.Name != appc.PreStart {
			continue
		}
		argv := append([]string{hookName, p.workDir()}, h.Exec...)
		child, err := os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{
			Env:   []string{},
			Files: []*os.File{os.NewFile(0, "stdin"), os.NewFile(1, "stdout"), os.NewFile(2, "stderr"), root.File()},
		})
		if err != nil {
			return fmt.Errorf("event handler %q: %w", h.Name, err)
		}
		state, err := child.Wait()
		if err != nil {
			return fmt.Errorf("event handler %q: %w", h.Name, err)
		}
		if !state.Success() {
			return fmt.Errorf("event handler %q: %s", h.Name, state)
		}
	}
	return nil
}

// hook is the other end of preStart. The mount and IPC namespaces are those of
// the parent, whose working directory is the pod's.
func hook(argv []string) error {
	if len(argv) < 3 {
		return errors.New("called by hand")
	}
	prof, err := profile.Read()
	if err != nil {
		return err
	}
	if prof.PID != os.Getppid() {
		return errors.New("called by hand, process " + strconv.Itoa(os.Getppid()) + " is not the pod's")
	}
	asRoot := *prof
	asRoot.UID, asRoot.GID, asRoot.Groups = 0, 0, nil
	root := inroot.FromFile(os.NewFile(rootFD, "root of the app"))
	return execute(root, &asRoot, confine.Program{
		Root: root.File(), WorkDir: argv[1], Path: argv[2], Args: argv[3:], Env: prof.Environment,
	})
}
