// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appenv"
	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/inroot"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/program"
)

// defaultTerm is the terminal type of a caller that has none.
const defaultTerm = "vt100"

// enter runs a command beside the app, with the app's root and environment,
// and held to what the app is held to.
func enter(argv []string) error {
	e, err := entrypoint.ParseEnter(argv)
	if err != nil {
		return err
	}
	prof, err := profile.Read()
	if err != nil {
		return fmt.Errorf("what is the app held to: %w", err)
	}
	if e.App != prof.App {
		return fmt.Errorf("cannot enter %q: the app of the pod is %q", e.App, prof.App)
	}
	// Opened before the check: what they refer to cannot become another
	// process any more.
	root, err := openRoot(e.PID)
	if err != nil {
		return err
	}
	ns, err := openNamespaces(e.PID, prof)
	if err != nil {
		return err
	}
	if err := prof.Check(e.PID); err != nil {
		return err
	}
	if err := joinNamespaces(ns); err != nil {
		return err
	}
	file, err := findCommand(root, e.Cmd[0], prof)
	if err != nil {
		say("Error: " + program.UnableToOpen(e.Cmd[0], unix.ENOENT))
		return err
	}
	return execute(root, prof, confine.Program{
		Root: root.File(), WorkDir: "/", Path: file, Args: e.Cmd[1:], Env: enterEnv(prof.Environment),
	})
}

func openRoot(pid int) (*inroot.Root, error) {
	root, err := inroot.Open("/proc/" + strconv.Itoa(pid) + "/root")
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("process %d: %w", pid, errGone)
	}
	return root, err
}

// namespace is one to join.
type namespace struct {
	f    *os.File
	kind int
}

func openNamespaces(pid int, prof *profile.Profile) ([]namespace, error) {
	kinds := map[string]int{"mnt": unix.CLONE_NEWNS}
	if prof.PrivateIPC {
		kinds["ipc"] = unix.CLONE_NEWIPC
	}
	if prof.PrivateNet {
		kinds["net"] = unix.CLONE_NEWNET
	}
	var all []namespace
	for name, kind := range kinds {
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/" + name)
		if err != nil {
			return nil, err
		}
		all = append(all, namespace{f, kind})
	}
	return all, nil
}

func joinNamespaces(all []namespace) error {
	// A thread that shares its root and working directory with others may not
	// change its mount namespace (setns(2)).
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter the pod: %w", err)
	}
	for _, ns := range all {
		if err := unix.Setns(int(ns.f.Fd()), ns.kind); err != nil {
			return fmt.Errorf("enter the pod: %s: %w", ns.f.Name(), err)
		}
	}
	return nil
}

func findCommand(root *inroot.Root, name string, prof *profile.Profile) (string, error) {
	if name == "" {
		return "", errors.New("empty command")
	}
	list := appenv.DefaultPath
	for _, kv := range prof.Environment {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			list = v
		}
	}
	return program.Find(root, name, "/", list)
}

// enterEnv is the app's environment with the terminal type of the caller.
func enterEnv(env []string) []string {
	term := os.Getenv("TERM")
	if term == "" {
		term = defaultTerm
	}
	out := make([]string, 0, len(env)+1)
	for _, kv := range env {
		if !strings.HasPrefix(kv, "TERM=") {
			out = append(out, kv)
		}
	}
	return append(out, "TERM="+term)
}
