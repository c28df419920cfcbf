// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// hookName is what this program calls itself for a handler: a filter cannot be
// taken off again, so a handler is confined in a process of its own.
const hookName = "pre-start"

// Descriptors of that process: the app's root, and where it says why the
// handler could not be run. The second is closed by the handler's start.
const (
	rootFD   = 3
	reasonFD = 4
)

// ErrSaid is the failure of a process whose parent says what it was.
var ErrSaid = errors.New("said by the parent process")

// preStart runs the pre-start handler of the app, as root of the pod, and
// fails if it does. Arguments: the working directory, then the program.
func (p *pod) preStart(root *inroot.Root) error {
	for _, h := range p.app.EventHandlers {
		if h.Name != appc.PreStart {
			continue
		}
		if err := p.runHandler(root, h.Exec); err != nil {
			return fmt.Errorf("event handler %q: %w", h.Name, err)
		}
	}
	return nil
}

func (p *pod) runHandler(root *inroot.Root, exec []string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	child, err := os.StartProcess("/proc/self/exe", append([]string{hookName, p.workDir()}, exec...), &os.ProcAttr{
		Env:   []string{},
		Files: []*os.File{os.NewFile(0, "stdin"), os.NewFile(1, "stdout"), os.NewFile(2, "stderr"), root.File(), w},
	})
	_ = w.Close()
	if err != nil {
		return err
	}
	reason, readErr := io.ReadAll(r)
	state, err := child.Wait()
	switch {
	case err != nil:
		return err
	case len(reason) > 0:
		return errors.New(string(reason))
	case !state.Success():
		return errors.New(state.String())
	}
	return readErr
}

// hook is the other end of preStart. The mount and IPC namespaces are those of
// the parent, whose working directory is the pod's. The parent says what failed.
func hook(argv []string) error {
	unix.CloseOnExec(reasonFD)
	err := runHook(argv)
	if _, werr := os.NewFile(reasonFD, "reason").WriteString(err.Error()); werr != nil {
		return err // called by hand
	}
	return ErrSaid
}

// runHook returns only if it fails.
func runHook(argv []string) error {
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
